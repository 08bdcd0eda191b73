//! The arguments of `sfkey service`.

use clap::{Args, Subcommand};

const EXAMPLES: &str = "\
Where there is no systemd, `sfkey-agent --daemon` in a shell's start-up file does the same.

Examples:
  sfkey service install --print    see the units
  sfkey service install            write and enable them; the first call starts the agent
  sfkey service status
  sfkey service uninstall";

const INSTALL_EXAMPLES: &str = "\
Examples:
  sfkey service install --print
  sfkey service install
  sfkey service install --force    after you changed a unit by hand and want it as it came";

const UNINSTALL_EXAMPLES: &str = "\
Where there is no systemd, the files are removed and nothing is stopped: `sfkey stop` does that.

Examples:
  sfkey service uninstall";

const STATUS_EXAMPLES: &str = "\
Examples:
  sfkey service status
  sfkey service status --json";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ServiceArgs {
    #[command(subcommand)]
    pub(crate) action: ServiceAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ServiceAction {
    /// Write the units where your systemd reads them, and enable the socket
    #[command(after_help = INSTALL_EXAMPLES)]
    Install(ServiceInstallArgs),
    /// Stop the agent, disable the socket and remove the units
    #[command(after_help = UNINSTALL_EXAMPLES)]
    Uninstall(ServiceUninstallArgs),
    /// Tell which units are there, and whether they are active
    #[command(after_help = STATUS_EXAMPLES)]
    Status,
}

#[derive(Args, Debug)]
pub(crate) struct ServiceInstallArgs {
    /// Print the units and write nothing
    #[arg(long)]
    pub(crate) print: bool,

    /// Replace units that were changed by hand; the old ones are kept aside
    #[arg(long, conflicts_with = "print")]
    pub(crate) force: bool,
}

#[derive(Args, Debug)]
pub(crate) struct ServiceUninstallArgs {
    /// Remove units that were changed by hand; they are kept aside
    #[arg(long)]
    pub(crate) force: bool,
}
