//! Arrow on its way out as plain Python values, for those who have neither pyarrow nor polars.

use arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::{
        DataType, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type,
        UInt16Type, UInt32Type, UInt64Type,
    },
    util::display::{ArrayFormatter, FormatOptions},
};
use pyo3::{
    IntoPyObjectExt,
    exceptions::PyValueError,
    prelude::*,
    types::{PyBytes, PyDict, PyList, PyTuple},
};

/// All rows as tuples.
pub(crate) fn rows<'py>(py: Python<'py>, batches: &[RecordBatch]) -> PyResult<Bound<'py, PyList>> {
    let list = PyList::empty(py);
    for batch in batches {
        let columns: Vec<Vec<Py<PyAny>>> =
            batch.columns().iter().map(|column| values(py, column.as_ref())).collect::<PyResult<_>>()?;
        for row in 0..batch.num_rows() {
            list.append(PyTuple::new(py, columns.iter().map(|column| column[row].clone_ref(py)))?)?;
        }
    }
    Ok(list)
}

fn values(py: Python<'_>, array: &dyn Array) -> PyResult<Vec<Py<PyAny>>> {
    let shown = Shown::new(py, array)?;
    (0..array.len()).map(|i| if array.is_null(i) { Ok(py.None()) } else { shown.value(py, array, i) }).collect()
}

/// What values that Python builds from text need: the constructor, and the text.
struct Shown<'a> {
    texts: Option<ArrayFormatter<'a>>,
    make: Option<Py<PyAny>>,
}

impl<'a> Shown<'a> {
    fn new(py: Python<'_>, array: &'a dyn Array) -> PyResult<Self> {
        let class = |module: &str, path: &[&str]| -> PyResult<Option<Py<PyAny>>> {
            let module = py.import(module)?.into_any();
            Ok(Some(path.iter().try_fold(module, |found, name| found.getattr(*name))?.unbind()))
        };
        let make = match array.data_type() {
            DataType::Date32 => class("datetime", &["date", "fromordinal"])?,
            DataType::Timestamp(..) => class("datetime", &["datetime", "fromisoformat"])?,
            DataType::Decimal32(..) | DataType::Decimal64(..) | DataType::Decimal128(..) | DataType::Decimal256(..) => {
                class("decimal", &["Decimal"])?
            }
            _ => None,
        };
        // Python 3.10 reads ISO 8601 with exactly six digits behind the point, and a zone as an offset.
        let options = FormatOptions::default()
            .with_timestamp_format(Some("%Y-%m-%dT%H:%M:%S%.6f"))
            .with_timestamp_tz_format(Some("%Y-%m-%dT%H:%M:%S%.6f%:z"));
        let formatter = || ArrayFormatter::try_new(array, &options).map_err(|e| PyValueError::new_err(e.to_string()));
        let is_plain = array.data_type().is_integer() || array.data_type().is_floating();
        Ok(Self { texts: if is_plain { None } else { formatter().ok() }, make })
    }

    fn value(&self, py: Python<'_>, array: &dyn Array, i: usize) -> PyResult<Py<PyAny>> {
        macro_rules! number {
            ($type:ty) => {
                array.as_primitive::<$type>().value(i).into_py_any(py)
            };
        }
        match array.data_type() {
            DataType::Null => Ok(py.None()),
            DataType::Boolean => array.as_boolean().value(i).into_py_any(py),
            DataType::Int8 => number!(Int8Type),
            DataType::Int16 => number!(Int16Type),
            DataType::Int32 => number!(Int32Type),
            DataType::Int64 => number!(Int64Type),
            DataType::UInt8 => number!(UInt8Type),
            DataType::UInt16 => number!(UInt16Type),
            DataType::UInt32 => number!(UInt32Type),
            DataType::UInt64 => number!(UInt64Type),
            DataType::Float16 => array.as_primitive::<Float16Type>().value(i).to_f64().into_py_any(py),
            DataType::Float32 => number!(Float32Type),
            DataType::Float64 => number!(Float64Type),
            DataType::Utf8 => array.as_string::<i32>().value(i).into_py_any(py),
            DataType::LargeUtf8 => array.as_string::<i64>().value(i).into_py_any(py),
            DataType::Utf8View => array.as_string_view().value(i).into_py_any(py),
            DataType::Binary => PyBytes::new(py, array.as_binary::<i32>().value(i)).into_py_any(py),
            DataType::LargeBinary => PyBytes::new(py, array.as_binary::<i64>().value(i)).into_py_any(py),
            DataType::BinaryView => PyBytes::new(py, array.as_binary_view().value(i)).into_py_any(py),
            DataType::List(_) => PyList::new(py, values(py, &array.as_list::<i32>().value(i))?)?.into_py_any(py),
            DataType::LargeList(_) => PyList::new(py, values(py, &array.as_list::<i64>().value(i))?)?.into_py_any(py),
            DataType::Struct(fields) => {
                let dict = PyDict::new(py);
                for (field, column) in fields.iter().zip(array.as_struct().columns()) {
                    let one = column.slice(i, 1);
                    dict.set_item(field.name(), values(py, &one)?.pop())?;
                }
                dict.into_py_any(py)
            }
            DataType::Date32 => {
                // Python counts days from the year 1.
                const DAYS_TO_1970: i64 = 719_163;
                let days = array.as_primitive::<arrow::datatypes::Date32Type>().value(i);
                self.made(py, (i64::from(days) + DAYS_TO_1970).into_py_any(py)?)
            }
            _ => self.made(py, self.text(i)?.into_py_any(py)?),
        }
    }

    fn text(&self, i: usize) -> PyResult<String> {
        let formatter = self.texts.as_ref().ok_or_else(|| PyValueError::new_err("a value that cannot be shown"))?;
        formatter.value(i).try_to_string().map_err(|error| PyValueError::new_err(error.to_string()))
    }

    fn made(&self, py: Python<'_>, argument: Py<PyAny>) -> PyResult<Py<PyAny>> {
        match &self.make {
            Some(make) => make.call1(py, (argument,)),
            None => Ok(argument),
        }
    }
}
