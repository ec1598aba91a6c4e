use super::*;

fn batch() -> Batch {
    Batch {
        count: 2,
        template: vec![0, 1],
        path_len: vec![2, 3],
        body_len: vec![0, 1],
        tag: vec![],
        arena: b"/a/bcX".to_vec(),
        done: false,
    }
}

fn refused(change: impl FnOnce(&mut Batch)) -> String {
    let mut batch = batch();
    change(&mut batch);
    batch.check(2, 2, &Limits::default()).unwrap_err()
}

#[test]
fn full_and_empty_columns_pass() {
    batch().check(2, 2, &Limits::default()).unwrap();
    let bare = Batch {
        count: 2,
        ..Batch::default()
    };
    bare.check(2, 1, &Limits::default()).unwrap();
    Batch::default().check(0, 1, &Limits::default()).unwrap();
}

#[test]
fn lies_are_named_with_their_numbers() {
    type Change = fn(&mut Batch);
    let cases: &[(Change, &str)] = &[
        (|b| b.count = 1_000_000, "1000000 requests, at most 2"),
        (|b| b.tag = vec![1], "`tag` has 1 elements for 2"),
        (|b| b.template = vec![0, 1, 1], "`template` has 3 elements"),
        (
            |b| b.template = vec![0, 2],
            "names template 2, the last one is 1",
        ),
        (
            |b| b.arena.push(0),
            "7 bytes, `path-len` and `body-len` use 6",
        ),
        (
            |b| b.arena.clear(),
            "0 bytes, `path-len` and `body-len` use 6",
        ),
        (|b| b.path_len = vec![u32::MAX, u32::MAX], "use 8589934591"),
        (|b| b.arena[2] = b'x', "path of request 1"),
    ];
    for (change, said) in cases {
        let error = refused(change);
        assert!(error.contains(said), "{error} lacks {said}");
    }
}

#[test]
fn a_body_without_a_path_column_is_counted() {
    let batch = Batch {
        count: 2,
        body_len: vec![1, 2],
        arena: b"abc".to_vec(),
        ..Batch::default()
    };
    batch.check(2, 1, &Limits::default()).unwrap();
}

#[test]
fn arrival_times_ascend_over_calls() {
    check_schedule(&[5, 5, 7], 3, Some(5)).unwrap();
    assert!(
        check_schedule(&[4], 1, Some(5))
            .unwrap_err()
            .contains("before")
    );
    assert!(
        check_schedule(&[6, 5], 2, None)
            .unwrap_err()
            .contains("time 1 is 5")
    );
    assert!(
        check_schedule(&[1, 2], 1, None)
            .unwrap_err()
            .contains("at most 1")
    );
    assert!(
        check_schedule(&[1 << 53], 1, None)
            .unwrap_err()
            .contains("2^53")
    );
}
