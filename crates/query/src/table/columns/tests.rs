//! Arrays of bounds against the plain bounds of each cell, for every type that has bounds and some that have none.

use apiary_core::{CellStats, ColumnStats, SeededRng, StatValue, SystemClock, TxnId};
use apiary_ledger::{CellFacts, CellId, value::ValueClass};
use datafusion::arrow::datatypes::{DataType, TimeUnit};
use proptest::{prelude::*, sample::select};

use super::*;

fn types() -> Vec<DataType> {
    let timestamp = |unit| [DataType::Timestamp(unit, None), DataType::Timestamp(unit, Some("UTC".into()))];
    let units = [TimeUnit::Second, TimeUnit::Millisecond, TimeUnit::Microsecond, TimeUnit::Nanosecond];
    let plain = [
        DataType::Boolean,
        DataType::Int8,
        DataType::Int16,
        DataType::Int32,
        DataType::Int64,
        DataType::UInt8,
        DataType::UInt16,
        DataType::UInt32,
        DataType::UInt64,
        DataType::Float32,
        DataType::Float64,
        DataType::Decimal32(9, 2),
        DataType::Decimal64(18, 2),
        DataType::Decimal128(38, 2),
        DataType::Decimal256(38, 2),
        DataType::Utf8,
        DataType::LargeUtf8,
        DataType::Utf8View,
        DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)),
        DataType::Date32,
        DataType::Date64,
        DataType::Binary,
        DataType::Time64(TimeUnit::Microsecond),
    ];
    plain.into_iter().chain(units.into_iter().flat_map(timestamp)).collect()
}

/// A value of the column's class, near to others, or at an end of what there is.
fn value_of(data_type: &DataType) -> BoxedStrategy<StatValue> {
    let of = match data_type {
        DataType::Dictionary(_, of) => of,
        other => other,
    };
    let big = (1i64 << 53) + 1;
    let ints = prop_oneof![-4i64..4, select(vec![big, big - 1, i64::MIN, i64::MAX, 127, 128]), any::<i64>()];
    match ValueClass::of(of) {
        Some(ValueClass::Bool) => any::<bool>().prop_map(StatValue::Bool).boxed(),
        Some(ValueClass::Int) => ints.prop_map(StatValue::Int).boxed(),
        Some(ValueClass::UInt) => {
            prop_oneof![0u64..8, select(vec![u64::MAX, 255, 256, (1 << 53) + 1])].prop_map(StatValue::UInt).boxed()
        }
        Some(ValueClass::Float) => select(vec![
            -0.0,
            0.0,
            0.1,
            -0.5,
            0.5,
            1.0,
            f64::MIN_POSITIVE,
            f64::MAX,
            f64::INFINITY,
            f64::NEG_INFINITY,
            9_007_199_254_740_993.0,
        ])
        .prop_map(StatValue::Float)
        .boxed(),
        Some(ValueClass::Decimal(..)) => {
            (prop_oneof![-4i128..4, Just(10i128.pow(37)), Just(-(10i128.pow(12)))], 1i8..4)
                .prop_map(|(value, scale)| StatValue::Decimal {
                    value,
                    precision: 38,
                    scale: if scale == 1 { 3 } else { 2 },
                })
                .boxed()
        }
        Some(ValueClass::Text) => select(vec!["", "a", "ab", "ä", "a\u{10ffff}", "\u{10ffff}", "zz", "日本"])
            .prop_map(|t| StatValue::Text(t.into()))
            .boxed(),
        Some(ValueClass::Date) => {
            prop_oneof![-3i32..3, Just(i32::MAX), Just(i32::MIN)].prop_map(StatValue::Date).boxed()
        }
        // Times too: statistics may hold more than a type can use.
        Some(ValueClass::Timestamp { .. }) | None => {
            prop_oneof![-3i64..3, -3_000_000i64..3_000_000, Just(i64::MAX), Just(i64::MIN)]
                .prop_map(StatValue::Timestamp)
                .boxed()
        }
    }
}

fn column_of(data_type: DataType) -> impl Strategy<Value = Option<ColumnStats>> {
    let bound = move || proptest::option::weighted(0.85, value_of(&data_type));
    let stats = (bound(), bound(), proptest::option::weighted(0.8, 0u64..=10), any::<[bool; 2]>());
    let stats = stats.prop_map(|(min, max, null_count, exact)| {
        // In order, as the ledger demands.
        let turned = matches!((&min, &max), (Some(a), Some(b)) if a.compare(b).is_some_and(|order| order.is_gt()));
        let (min, max) = if turned { (max, min) } else { (min, max) };
        ColumnStats { min, max, null_count, min_exact: exact[0], max_exact: exact[1] }
    });
    // A cell that is too old to have the column says nothing of it.
    proptest::option::weighted(0.9, stats)
}

fn cell(n: u32, stats: Option<ColumnStats>, part: Option<Option<String>>) -> CellFacts {
    let column = ("c".to_owned(), stats);
    let columns = column.1.map(|stats| (column.0, stats)).into_iter().collect();
    CellFacts {
        folder: "f".into(),
        id: CellId { txn: TxnId::new(&SystemClock, &SeededRng::new(u64::from(n))), n },
        size_bytes: 1,
        partition_values: part.into_iter().map(|value| ("c".to_owned(), value)).collect(),
        stats: CellStats { rows: 10, columns },
        sha256: "00".repeat(32),
        modified_ms: 0,
    }
}

/// The arrays of these cells, and the plain bounds that were never packed.
fn check(facts: &[CellFacts], field: &Field, lists: &[HashSet<ScalarValue>]) -> Result<(), TestCaseError> {
    let cells: Cells = facts.iter().map(|facts| Arc::new(facts.pack().unwrap())).collect();
    let schema = Schema::new(vec![field.clone()]);
    let bounds = CellsBounds::new(&cells, &schema);
    let Some(arrays) = bounds.column("c") else {
        return Err(TestCaseError::fail(format!("{field:?} has no arrays")));
    };
    let plain = |facts: &CellFacts| match facts.partition_values.first() {
        Some((_, text)) => bounds::of_partition(text.as_deref(), field.data_type(), facts.stats.rows),
        None => facts.stats.columns.get("c").map_or_else(ColumnBounds::default, |stats| bounds::of_stats(stats, field)),
    };
    let plain: Vec<ColumnBounds> = facts.iter().map(plain).collect();
    let counts = arrays.null_count.as_any().downcast_ref::<UInt64Array>().unwrap();
    for (at, plain) in plain.iter().enumerate() {
        let value = |array: &ArrayRef| {
            let value = ScalarValue::try_from_array(array, at).unwrap();
            (!value.is_null()).then_some(value)
        };
        let word = |value: &Option<ScalarValue>| format!("{value:?}");
        let known = |bound: &Option<Bound>| bound.as_ref().map(|bound| bound.value.clone());
        // As text, too: -0.0 is not 0.0.
        prop_assert_eq!(word(&value(&arrays.min)), word(&known(&plain.min)));
        prop_assert_eq!(word(&value(&arrays.max)), word(&known(&plain.max)));
        prop_assert_eq!(counts.is_valid(at).then(|| counts.value(at)), plain.null_count);
        let exact = |bound: &Option<Bound>| bound.as_ref().is_some_and(|bound| bound.exact);
        prop_assert_eq!(arrays.exact.value(at), exact(&plain.min) && exact(&plain.max));
    }
    for list in lists {
        let told: Vec<Option<bool>> =
            arrays.contained(list).map_or_else(|| vec![None; facts.len()], |told| told.iter().collect());
        let truth: Vec<Option<bool>> = plain.iter().map(|plain| bounds::only_or_never(plain, list)).collect();
        // To know less is no error, but this knows as much, where the list says anything.
        let comparable = !list.iter().any(ScalarValue::is_null) && !list.is_empty();
        for (told, truth) in told.iter().zip(&truth) {
            prop_assert!(
                told == truth || (!comparable && told.is_none()),
                "{:?}: {:?}, and truly {:?}",
                list,
                told,
                truth
            );
        }
    }
    Ok(())
}

fn list_of(data_type: &DataType) -> impl Strategy<Value = HashSet<ScalarValue>> + use<> {
    let data_type = data_type.clone();
    let null = ScalarValue::try_from(&data_type).unwrap();
    prop::collection::vec(value_of(&data_type), 1..40).prop_flat_map(move |values| {
        let scalar = |value: &StatValue| Some(bounds::scalar(value, &data_type, bounds::End::Min)?.value);
        let values: HashSet<ScalarValue> = values.iter().filter_map(scalar).collect();
        let with_null: HashSet<ScalarValue> = values.iter().cloned().chain([null.clone()]).collect();
        prop_oneof![9 => Just(values), 1 => Just(with_null)]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]
    #[test]
    fn arrays_of_bounds_equal_the_plain_bounds(
        (data_type, columns, lists) in select(types()).prop_flat_map(|data_type| (
            Just(data_type.clone()),
            prop::collection::vec(column_of(data_type.clone()), 1..60),
            prop::collection::vec(list_of(&data_type), 3),
        )),
    ) {
        let facts: Vec<CellFacts> = columns.into_iter().enumerate().map(|(n, c)| cell(n as u32, c, None)).collect();
        check(&facts, &Field::new("c", data_type, true), &lists)?;
    }

    #[test]
    fn a_partition_column_has_its_values_as_bounds(
        (data_type, values) in select(vec![
            (DataType::Utf8, vec!["a", "ä", "EU"]),
            (DataType::Int64, vec!["-1", "9007199254740993", "x"]),
            (DataType::Date32, vec!["2026-11-20", "0001-01-01"]),
            (DataType::Boolean, vec!["true", "false"]),
        ]).prop_flat_map(|(data_type, texts)| (
            Just(data_type), prop::collection::vec(proptest::option::of(select(texts)), 1..30)
        )),
    ) {
        let part = |(n, value): (usize, Option<&str>)| cell(n as u32, None, Some(value.map(str::to_owned)));
        let facts: Vec<CellFacts> = values.into_iter().enumerate().map(part).collect();
        check(&facts, &Field::new("c", data_type, true), &[])?;
    }
}

#[test]
fn a_thousand_cells_in_several_chunks_keep_their_places() {
    let exact = |n: i64| ColumnStats {
        min: Some(StatValue::Int(n)),
        max: Some(StatValue::Int(n + 1)),
        null_count: Some(0),
        min_exact: true,
        max_exact: true,
    };
    let facts: Vec<CellFacts> = (0..1300).map(|n| cell(n, Some(exact(i64::from(n))), None)).collect();
    let list = HashSet::from([ScalarValue::Int64(Some(700)), ScalarValue::Int64(Some(-5))]);
    check(&facts, &Field::new("c", DataType::Int64, true), std::slice::from_ref(&list)).unwrap();
    let cells: Cells = facts.iter().map(|facts| Arc::new(facts.pack().unwrap())).collect();
    let schema = Schema::new(vec![Field::new("c", DataType::Int64, true)]);
    let told = CellsBounds::new(&cells, &schema).column("c").unwrap().contained(&list).unwrap();
    let maybe: Vec<usize> = (0..1300).filter(|at| told.is_null(*at)).collect();
    assert_eq!(maybe, [699, 700]);
}
