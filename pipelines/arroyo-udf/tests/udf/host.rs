//! Arroyo's side of a UDF: loads the library and calls `__run` with Arrow's C data interface, as `arroyo-udf-host` does
//! (which no registry has).

use std::path::PathBuf;

use arroyo_udf_plugin::arrow::array::{Array, ArrayRef, make_array};
use arroyo_udf_plugin::arrow::ffi::from_ffi;
use arroyo_udf_plugin::{FfiArraySchema, FfiArrays, RunResult};
use dlopen2::utils::{PLATFORM_FILE_EXTENSION, PLATFORM_FILE_PREFIX};
use dlopen2::wrapper::{Container, WrapperApi};

#[derive(WrapperApi)]
struct Interface {
    __run: unsafe extern "C-unwind" fn(args: FfiArrays) -> RunResult,
}

/// A loaded library.
pub struct Udf(Container<Interface>);

impl Udf {
    /// Loads the library that cargo built for crate `name`, for good: arrays that it gave away are freed by its code.
    #[expect(unsafe_code, reason = "loading a library runs its initialisers")]
    pub fn load(name: &str) -> &'static Self {
        let tests = std::env::current_exe().expect("a running test");
        let folder: PathBuf = tests.parent().expect("cargo's folder `deps`").into();
        let path = folder.join(format!("{PLATFORM_FILE_PREFIX}{name}.{PLATFORM_FILE_EXTENSION}"));
        // SAFETY: it is the crate under test, built with this test.
        let container = unsafe { Container::load(&path) };
        let container = container.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Box::leak(Box::new(Self(container)))
    }

    /// Calls it; `None` when it panicked, which would end Arroyo's worker.
    #[expect(unsafe_code, reason = "the C interface is what is tested")]
    pub fn run(&self, arguments: &[ArrayRef]) -> Option<ArrayRef> {
        let arguments = FfiArrays::from_vec(arguments.iter().map(Array::to_data).collect());
        // SAFETY: `__run` has this signature in ABI 0.2 and takes over the arrays.
        match unsafe { self.0.__run(arguments) } {
            // SAFETY: array and schema come from one `to_ffi`.
            RunResult::Ok(FfiArraySchema(array, schema)) => {
                Some(make_array(unsafe { from_ffi(array, &schema) }.expect("a valid array")))
            }
            RunResult::Err => None,
        }
    }
}
