//! The binary's inside: settings, wiring, sub-commands. The only place where adapters are chosen and built.

mod cli;
mod commands;
mod dashboards;
mod failure;
mod home;
mod live_reader;
mod recommend;
mod services;
mod settings;
mod tables_output;
mod training;

use std::process::ExitCode;

use clap::Parser as _;

use cli::{BenchCommand, Cli, Command, ImportCommand, LakeCommand, LogCommand};
pub use failure::Failure;

/// Runs the command line of this process and reports failure as one sentence on stderr.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    init_logs(cli.verbose);
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("marquee: {failure}");
            ExitCode::from(failure.exit_code)
        }
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    let loaded = settings::load(&cli)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::unavailable(format!("cannot start the I/O threads: {e}")))?;
    // Never dropped: commands end their services by themselves, and what Delta's kernel still has in the air after a
    // failure would panic on a runtime that is being torn down.
    let runtime: &'static tokio::runtime::Runtime = Box::leak(Box::new(runtime));
    match cli.command {
        Command::Config { json } => commands::config::run(&loaded, json),
        Command::Up => commands::up::run(runtime, &loaded.settings),
        Command::Jobs { names } => commands::roles::jobs(runtime, &loaded.settings, &names),
        Command::Collector => commands::roles::collector(runtime, &loaded.settings),
        Command::Demo(options) => commands::demo::run(runtime, &loaded.settings, &options),
        Command::Import { source: ImportCommand::Waterloo { dir, json } } => {
            commands::import::waterloo(runtime, &loaded.settings, &dir, json)
        }
        Command::Import { source: ImportCommand::CdnLog { files, json } } => {
            commands::import::cdn_log(runtime, &loaded.settings, &files, json)
        }
        Command::Import { source: ImportCommand::Movielens { dir, json } } => {
            commands::import::movielens(runtime, &loaded.settings, &dir, json)
        }
        Command::Import { source: ImportCommand::Interactions { file, json } } => {
            commands::import::interactions(runtime, &loaded.settings, &file, json)
        }
        Command::Train(options) => commands::train::train(runtime, &loaded.settings, &options),
        Command::Evaluate(options) => commands::evaluate::run(&options),
        Command::Models { json } => commands::train::models(&loaded.settings, json),
        Command::Publish { version, force } => commands::train::publish(&loaded.settings, &version, force),
        Command::Rollback => commands::train::rollback(&loaded.settings),
        Command::Lake { command: LakeCommand::Tables { json } } => {
            commands::lake::tables(runtime, &loaded.settings, json)
        }
        Command::Lake { command: LakeCommand::Sql { query, format } } => {
            commands::lake::sql(runtime, &loaded.settings, &query, format)
        }
        Command::Lake { command: LakeCommand::Recompute(options) } => {
            commands::recompute::run(runtime, &loaded.settings, &options)
        }
        Command::Log { command: LogCommand::Grow(options) } => commands::log::grow(runtime, &loaded.settings, &options),
        Command::Bench { command: BenchCommand::Stream(options) } => commands::bench::stream::run(runtime, &options),
        Command::Bench { command: BenchCommand::Rows(options) } => {
            commands::bench::rows::run(runtime, &loaded.settings, &options)
        }
    }
}

fn init_logs(verbose: u8) {
    let default = match verbose {
        0 => "warn",
        1 => "info,datafusion=warn,deltalake=warn,delta_kernel=warn",
        _ => "debug",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("RUST_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(default));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}
