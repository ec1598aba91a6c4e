//! `kperf-host validate`: checks a profile without a cluster.

use std::path::PathBuf;

use clap::Args;

use crate::{
    cli::run::prepare_profile,
    exit::{Exit, Failed, OrExit as _},
    live::Live,
};

/// Arguments of `validate`.
#[derive(Debug, Args)]
pub struct ValidateArgs {
    /// Load profile, YAML.
    pub file: PathBuf,
    /// Ignore unknown keys, with a warning.
    #[arg(long)]
    pub lenient: bool,
    /// Print the profile in its normal form, defaults filled in.
    #[arg(long)]
    pub show: bool,
}

/// Runs the command.
///
/// # Errors
/// What is wrong with the profile, with file, line and key.
pub fn run(args: &ValidateArgs, live: &Live) -> Result<Exit, Failed> {
    use std::io::Write as _;
    let (profile, resolved) = prepare_profile(&args.file, args.lenient, live)?;
    if args.show {
        let text = profile.to_yaml(&resolved).or_exit(Exit::Failure)?;
        std::io::stdout().write_all(text.as_bytes()).ok();
    } else {
        let entries: usize = resolved.specs.iter().map(|spec| spec.entries.len()).sum();
        live.say(&format!(
            "{}: valid, {} spec(s), {entries} request entries",
            args.file.display(),
            resolved.specs.len()
        ));
    }
    Ok(Exit::Success)
}
