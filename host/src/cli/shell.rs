//! `kperf-host completions` and `kperf-host man`: made from the commands themselves, so they cannot be out of date.

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::{Args, Command, CommandFactory as _};
use clap_complete::Shell;

use crate::{
    cli::Cli,
    exit::{Exit, Failed, OrExit as _},
};

/// Arguments of `completions`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  kperf-host completions bash > ~/.local/share/bash-completion/completions/kperf-host
  kperf-host completions zsh > ~/.zfunc/_kperf-host
  kperf-host completions fish > ~/.config/fish/completions/kperf-host.fish
")]
pub struct CompletionsArgs {
    /// The shell they are for.
    #[arg(value_name = "SHELL")]
    pub shell: Shell,
}

/// Arguments of `man`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  kperf-host man | man -l -
  kperf-host man ~/.local/share/man/man1
")]
pub struct ManArgs {
    /// Write a page for each command into this folder, which is made; without it the first page goes to standard output.
    #[arg(value_name = "FOLDER")]
    pub folder: Option<PathBuf>,
}

/// Prints the completions of a shell.
///
/// # Errors
/// Standard output cannot be written.
pub fn completions(args: &CompletionsArgs) -> Result<Exit, Failed> {
    // Generators panic when they cannot write, so they write into memory.
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "kperf-host", &mut text);
    print(&text)
}

/// Prints or writes the manual.
///
/// # Errors
/// The folder or standard output cannot be written.
pub fn man(args: &ManArgs) -> Result<Exit, Failed> {
    let mut whole = Cli::command();
    // Subcommands get the help of their parents' global flags, and their whole names.
    whole.build();
    let Some(folder) = &args.folder else {
        return print(&page(&whole).or_exit(Exit::Failure)?);
    };
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot make folder {}", folder.display()))
        .or_exit(Exit::Failure)?;
    pages(&whole, folder).or_exit(Exit::Failure)?;
    Ok(Exit::Success)
}

/// Writes the page of a command and those of its subcommands.
fn pages(command: &Command, folder: &Path) -> anyhow::Result<()> {
    let name = command
        .get_display_name()
        .unwrap_or_else(|| command.get_name());
    let path = folder.join(format!("{name}.1"));
    std::fs::write(&path, page(command)?)
        .with_context(|| format!("cannot write {}", path.display()))?;
    command
        .get_subcommands()
        .filter(|one| one.get_name() != "help" && !one.is_hide_set())
        .try_for_each(|one| pages(one, folder))
}

fn page(command: &Command) -> anyhow::Result<Vec<u8>> {
    let mut text = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut text)?;
    Ok(text)
}

fn print(text: &[u8]) -> Result<Exit, Failed> {
    match io::stdout().write_all(text) {
        // A closed pipe is the reader's choice.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).or_exit(Exit::Failure)
        }
        _ => Ok(Exit::Success),
    }
}
