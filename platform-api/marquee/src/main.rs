//! The binary `marquee`; everything is in the library, so that the fault tests run the same code with fail points.

/// Long-running shards allocate and free batches of all sizes: mimalloc returns memory that the system's keeps.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    marquee::main()
}
