//! The demo's data: sensors in four regions, one reading after the other, the same on every machine and every run.
//!
//! A reading is a function of its number alone (a day, a season and a little noise hashed from the number), so any
//! part can be made without the parts before it, and what a query must answer is known.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, Float64Array, Int32Array, RecordBatch, StringArray, TimestampMicrosecondArray},
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
    error::ArrowError,
};

/// The regions; the frame is parted by them.
pub(super) const REGIONS: [&str; 4] = ["north", "east", "south", "west"];
/// Sensors in each region.
pub(super) const SENSORS_PER_REGION: u64 = 50;
/// Sensors in all.
pub(super) const SENSORS: u64 = REGIONS.len() as u64 * SENSORS_PER_REGION;
/// 2026-10-01 00:00:00 UTC in microseconds: the first reading.
const START_US: i64 = 1_790_812_800_000_000;
/// The readings cover this many days, however many there are.
pub(super) const DAYS: u64 = 32;
const DAY_US: i64 = 86_400_000_000;

/// Columns of `demo.sensors.temperature`.
pub(super) fn readings_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("timestamp", DataType::Timestamp(TimeUnit::Microsecond, None), false),
        Field::new("region", DataType::Utf8, false),
        Field::new("sensor", DataType::Int32, false),
        Field::new("temperature", DataType::Float64, false),
    ]))
}

/// Readings `from..to` of `total`, in the order of time.
pub(super) fn readings(from: u64, to: u64, total: u64) -> Result<RecordBatch, ArrowError> {
    let numbers = || from..to;
    let sensor = |n: u64| n % SENSORS;
    let columns: Vec<ArrayRef> = vec![
        Arc::new(TimestampMicrosecondArray::from_iter_values(numbers().map(|n| timestamp_us(n, total)))),
        Arc::new(StringArray::from_iter_values(numbers().map(|n| REGIONS[region(sensor(n))]))),
        Arc::new(Int32Array::from_iter_values(numbers().map(|n| sensor(n) as i32))),
        Arc::new(Float64Array::from_iter_values(numbers().map(|n| temperature(n, total)))),
    ];
    RecordBatch::try_new(readings_schema(), columns)
}

/// All sensors take turns; the time moves on with each reading.
fn timestamp_us(n: u64, total: u64) -> i64 {
    let span = i128::from(DAY_US) * i128::from(DAYS);
    START_US + (span * i128::from(n) / i128::from(total.max(1))) as i64
}

fn region(sensor: u64) -> usize {
    (sensor / SENSORS_PER_REGION) as usize
}

/// Degrees Celsius to a tenth: the region's climate, autumn, the hour of the day, and noise.
fn temperature(n: u64, total: u64) -> f64 {
    const CLIMATE: [f64; REGIONS.len()] = [6.0, 11.0, 17.0, 13.0];
    let sensor = n % SENSORS;
    let days = (timestamp_us(n, total) - START_US) as f64 / DAY_US as f64;
    let hour = (days.fract() - 0.625) * std::f64::consts::TAU;
    let noise = (mix(n) % 4001) as f64 / 1000.0 - 2.0;
    let degrees = CLIMATE[region(sensor)] - 0.15 * days + 5.0 * hour.cos() + noise;
    (degrees * 10.0).round() / 10.0
}

/// The finaliser of SplitMix64: neighbours become strangers.
fn mix(n: u64) -> u64 {
    let mut z = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Columns of `demo.sensors.stations`.
pub(super) fn stations_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("sensor", DataType::Int32, false),
        Field::new("station", DataType::Utf8, false),
        Field::new("altitude_m", DataType::Int32, false),
    ]))
}

/// One station for each sensor.
pub(super) fn stations() -> Result<RecordBatch, ArrowError> {
    const PLACES: [&str; 10] =
        ["Clover", "Linden", "Heather", "Thyme", "Acacia", "Willow", "Sage", "Poppy", "Borage", "Maple"];
    let name = |n: u64| {
        let place = PLACES[(n % PLACES.len() as u64) as usize];
        format!("{place} {} {}", ["Hill", "Field", "Lake", "Gate", "Wood"][(n / 10 % 5) as usize], REGIONS[region(n)])
    };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from_iter_values(0..SENSORS as i32)),
        Arc::new(StringArray::from_iter_values((0..SENSORS).map(name))),
        Arc::new(Int32Array::from_iter_values((0..SENSORS).map(|n| (mix(n) % 1800) as i32))),
    ];
    RecordBatch::try_new(stations_schema(), columns)
}

#[cfg(test)]
mod tests {
    use arrow::compute::concat_batches;

    use super::*;

    #[test]
    fn any_part_is_the_same_as_in_the_whole() {
        let whole = readings(0, 900, 900).unwrap();
        let parts = [readings(0, 400, 900).unwrap(), readings(400, 900, 900).unwrap()];
        assert_eq!(whole, concat_batches(&readings_schema(), &parts).unwrap());
    }

    #[test]
    fn readings_cover_the_days_in_order() {
        let batch = readings(0, 1000, 1000).unwrap();
        let times = batch.column(0).as_any().downcast_ref::<TimestampMicrosecondArray>().unwrap();
        assert_eq!(times.value(0), START_US);
        assert!(times.values().is_sorted());
        assert!(times.value(999) < START_US + DAY_US * DAYS as i64);
        assert!(times.value(999) > START_US + DAY_US * (DAYS as i64 - 1));
    }

    #[test]
    fn every_station_has_its_own_name() {
        let batch = stations().unwrap();
        let names = batch.column(1).as_any().downcast_ref::<StringArray>().unwrap();
        let names: std::collections::BTreeSet<_> = names.iter().flatten().collect();
        assert_eq!(names.len() as u64, SENSORS);
    }

    #[test]
    fn temperatures_stay_on_earth() {
        assert!((0..10_000).all(|n| (-20.0..40.0).contains(&temperature(n, 10_000))));
    }
}
