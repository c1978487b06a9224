//! Writes the eight TPC-H tables as Parquet files: `tpch-data FOLDER [SCALE]`, scale 0.1 unless given.
//!
//! The rows are those of the official generator (the tpchgen crate), so every run and every oracle sees the same.

use std::{error::Error, fs::File, path::Path};

use arrow::array::RecordBatchReader;
use parquet::{
    arrow::ArrowWriter,
    basic::Compression,
    file::properties::{WriterProperties, WriterVersion},
};
use tpchgen::generators::{
    CustomerGenerator, LineItemGenerator, NationGenerator, OrderGenerator, PartGenerator, PartSuppGenerator,
    RegionGenerator, SupplierGenerator,
};
use tpchgen_arrow::{
    CustomerArrow, LineItemArrow, NationArrow, OrderArrow, PartArrow, PartSuppArrow, RegionArrow, SupplierArrow,
};

fn write(folder: &Path, table: &str, batches: impl RecordBatchReader) -> Result<(), Box<dyn Error>> {
    let properties = WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_compression(Compression::SNAPPY)
        .set_max_row_group_row_count(Some(256 * 1024))
        .build();
    let file = File::create(folder.join(format!("{table}.parquet")))?;
    let mut writer = ArrowWriter::try_new(file, batches.schema(), Some(properties))?;
    for batch in batches {
        writer.write(&batch?)?;
    }
    writer.close()?;
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let folder = args.next().ok_or("usage: tpch-data FOLDER [SCALE]")?;
    let scale: f64 = args.next().map_or(Ok(0.1), |text| text.parse())?;
    let folder = Path::new(&folder);
    std::fs::create_dir_all(folder)?;
    write(folder, "region", RegionArrow::new(RegionGenerator::new(scale, 1, 1)))?;
    write(folder, "nation", NationArrow::new(NationGenerator::new(scale, 1, 1)))?;
    write(folder, "supplier", SupplierArrow::new(SupplierGenerator::new(scale, 1, 1)))?;
    write(folder, "part", PartArrow::new(PartGenerator::new(scale, 1, 1)))?;
    write(folder, "partsupp", PartSuppArrow::new(PartSuppGenerator::new(scale, 1, 1)))?;
    write(folder, "customer", CustomerArrow::new(CustomerGenerator::new(scale, 1, 1)))?;
    write(folder, "orders", OrderArrow::new(OrderGenerator::new(scale, 1, 1)))?;
    write(folder, "lineitem", LineItemArrow::new(LineItemGenerator::new(scale, 1, 1)))?;
    Ok(())
}
