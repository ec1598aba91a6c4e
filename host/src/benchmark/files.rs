//! Text files beside the configuration, for a benchmark that names templates: below one directory and nowhere else.

use std::{
    io::Read as _,
    path::{Component, Path, PathBuf},
};

use kperf_runtime::{Failure, failure};

/// Largest file a benchmark may read.
const MAX_BYTES: u64 = 4 << 20;

/// Reads a file below `base`. Symbolic links may lead anywhere below it, not out of it.
///
/// # Errors
/// `denied` for a path that is absolute or leaves the directory, `not-found`, `too-large`, `invalid` for what is no
/// text or no file.
pub(crate) fn read(base: &Path, path: &str) -> Result<String, Failure> {
    let shown = path.escape_debug().to_string();
    let denied = |why: &str| {
        failure(
            "denied",
            format!(
                "`{shown}` {why}: only files below {} can be read",
                base.display()
            ),
        )
    };
    let relative = Path::new(path);
    let plain = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
    if path.is_empty() || !relative.components().all(plain) {
        return Err(denied("is not a relative path without `..`"));
    }
    // A configuration may lie in a home directory, beside credentials.
    let hidden = |part: &Component<'_>| matches!(part, Component::Normal(name) if name.as_encoded_bytes().starts_with(b"."));
    if relative.components().any(|part| hidden(&part)) {
        return Err(denied("is hidden"));
    }
    let real_base = real(base, &shown)?;
    let real_path = real(&base.join(relative), &shown)?;
    let Ok(below) = real_path.strip_prefix(&real_base) else {
        return Err(denied("is a link that leads elsewhere"));
    };
    if below.components().any(|part| hidden(&part)) {
        return Err(denied("is a link to what is hidden"));
    }
    let broken = |error: std::io::Error| {
        failure(
            "invalid",
            format!("cannot read {}: {error}", real_path.display()),
        )
    };
    // Before it is opened: to open a pipe waits for its other end.
    if !std::fs::metadata(&real_path).map_err(broken)?.is_file() {
        return Err(failure(
            "invalid",
            format!("{} is not a file", real_path.display()),
        ));
    }
    let file = std::fs::File::open(&real_path).map_err(broken)?;
    let mut text = String::new();
    let read = file.take(MAX_BYTES + 1).read_to_string(&mut text);
    if text.len() as u64 > MAX_BYTES {
        return Err(failure(
            "too-large",
            format!(
                "{} has more than {} MiB",
                real_path.display(),
                MAX_BYTES >> 20
            ),
        ));
    }
    read.map_err(broken)?;
    Ok(text)
}

fn real(path: &Path, shown: &str) -> Result<PathBuf, Failure> {
    path.canonicalize().map_err(|error| {
        let code = match error.kind() {
            std::io::ErrorKind::NotFound => "not-found",
            _ => "invalid",
        };
        failure(code, format!("`{shown}` ({}): {error}", path.display()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_below_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let base = directory.path().join("workload");
        std::fs::create_dir_all(base.join("templates")).unwrap();
        std::fs::write(base.join("templates/vmi.yaml"), "kind: VMI").unwrap();
        std::fs::write(directory.path().join("secret"), "s").unwrap();
        std::os::unix::fs::symlink(directory.path().join("secret"), base.join("out")).unwrap();
        std::os::unix::fs::symlink(base.join("templates"), base.join("in")).unwrap();
        std::fs::create_dir(base.join(".kube")).unwrap();
        std::fs::write(base.join(".kube/config"), "s").unwrap();
        std::os::unix::fs::symlink(base.join(".kube"), base.join("kube")).unwrap();
        std::fs::write(base.join("binary"), [0xff, 0xfe]).unwrap();
        std::fs::write(base.join("large"), vec![b'a'; (MAX_BYTES + 1) as usize]).unwrap();

        assert_eq!(read(&base, "templates/vmi.yaml").unwrap(), "kind: VMI");
        assert_eq!(read(&base, "./in/vmi.yaml").unwrap(), "kind: VMI");
        for (path, code) in [
            ("", "denied"),
            ("../secret", "denied"),
            ("templates/../../secret", "denied"),
            ("/etc/passwd", "denied"),
            ("out", "denied"),
            (".kube/config", "denied"),
            ("kube/config", "denied"),
            ("none.yaml", "not-found"),
            ("templates", "invalid"),
            ("binary", "invalid"),
            ("large", "too-large"),
            ("a\0b", "invalid"),
        ] {
            assert_eq!(read(&base, path).unwrap_err().code, code, "{path:?}");
        }
    }
}
