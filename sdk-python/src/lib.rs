//! The core of the Python SDK: coarse calls with plain arguments, everything pleasant is written in Python.
//!
//! One interface over two transports: the embedded colony and a coordinator over gRPC are both an
//! [`apiary_proto::client::Client`], so nothing in here knows which it speaks to. Every wait lets go of the
//! interpreter and looks for Ctrl-C ten times a second.

mod care;
mod columns_in;
mod core;
mod errors;
mod query;
mod schema_in;
mod values_out;
mod wait;

use pyo3::prelude::*;

#[pymodule]
fn _apiary(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<core::Core>()?;
    module.add_class::<query::Query>()?;
    module.add_class::<query::Batches>()
}
