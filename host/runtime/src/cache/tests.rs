use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;
use crate::engine::new_engine;

const KEY: &str = "00112233";

struct Fixture {
    engine: Engine,
    directory: tempfile::TempDir,
    cache: Cache,
    component: Component,
}

fn fixture() -> Fixture {
    let engine = new_engine().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let cache = Cache::open(directory.path().join("code"), &engine).unwrap();
    let component =
        Component::from_binary(&engine, &wat::parse_str("(component)").unwrap()).unwrap();
    Fixture {
        engine,
        directory,
        cache,
        component,
    }
}

impl Fixture {
    fn stored() -> Self {
        let fixture = fixture();
        assert!(!fixture.is_hit());
        fixture.cache.store(KEY, &fixture.component);
        assert!(fixture.is_hit());
        fixture
    }

    fn is_hit(&self) -> bool {
        self.cache.load(&self.engine, KEY).is_some()
    }

    fn path(&self) -> PathBuf {
        self.cache.path(KEY)
    }
}

#[test]
fn entries_are_private() {
    let fixture = Fixture::stored();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&fixture.path()), 0o600);
    assert_eq!(mode(&fixture.cache.directory), 0o700);
    assert_eq!(fs::read_dir(&fixture.cache.directory).unwrap().count(), 1);
}

#[test]
fn a_changed_byte_anywhere_is_a_miss() {
    let fixture = Fixture::stored();
    let whole = fs::read(fixture.path()).unwrap();
    for at in [0, MAGIC.len(), MAGIC.len() + DIGEST_BYTES, whole.len() - 1] {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        fs::write(fixture.path(), changed).unwrap();
        assert!(!fixture.is_hit(), "byte {at}");
    }
    for len in [
        0,
        1,
        MAGIC.len(),
        MAGIC.len() + DIGEST_BYTES,
        whole.len() - 1,
    ] {
        fs::write(fixture.path(), &whole[..len]).unwrap();
        assert!(!fixture.is_hit(), "{len} bytes");
    }
    fs::write(fixture.path(), whole).unwrap();
    assert!(fixture.is_hit());
}

#[test]
fn a_whole_entry_that_is_not_code_is_a_miss() {
    let fixture = Fixture::stored();
    fixture
        .cache
        .write_entry(&fixture.path(), b"not code")
        .unwrap();
    assert!(!fixture.is_hit());
}

#[test]
fn an_entry_open_to_others_is_a_miss() {
    let fixture = Fixture::stored();
    fs::set_permissions(fixture.path(), fs::Permissions::from_mode(0o620)).unwrap();
    assert!(!fixture.is_hit());
}

#[test]
fn a_link_is_a_miss() {
    let fixture = Fixture::stored();
    let elsewhere = fixture.directory.path().join("elsewhere");
    fs::rename(fixture.path(), &elsewhere).unwrap();
    symlink(&elsewhere, fixture.path()).unwrap();
    assert!(!fixture.is_hit());
}

#[test]
fn a_directory_open_to_others_is_not_used() {
    let fixture = fixture();
    let open = fixture.directory.path().join("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o755)).unwrap();
    assert!(Cache::open(open, &fixture.engine).is_none());
    let link = fixture.directory.path().join("link");
    symlink(&fixture.cache.directory, &link).unwrap();
    assert!(Cache::open(link, &fixture.engine).is_none());
    let file = fixture.directory.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(Cache::open(file, &fixture.engine).is_none());
}

#[test]
fn the_longest_unused_entries_go_first() {
    let fixture = Fixture::stored();
    let old = fixture.cache.path("old");
    fs::copy(fixture.path(), &old).unwrap();
    File::options()
        .write(true)
        .open(&old)
        .unwrap()
        .set_modified(SystemTime::UNIX_EPOCH)
        .unwrap();
    let size = fs::metadata(fixture.path()).unwrap().len();
    fixture.cache.evict_above(&fixture.path(), 2 * size);
    assert!(old.exists());
    fixture.cache.evict_above(&fixture.path(), 2 * size - 1);
    assert!(!old.exists() && fixture.path().exists());
    fixture.cache.evict_above(&fixture.path(), 0);
    assert!(fixture.path().exists(), "the newest entry stays");
}
