//! How many files, connections above all, this process may have open at once.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Takes as many as the administrator allows: shells start programs with 1024, which is for those that call `select`,
/// and some scenarios need thousands of connections. Where it is refused, connecting says what is missing.
pub fn allow_most() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_that_could_be_had() {
        allow_most();
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        assert_eq!(soft, hard);
    }
}
