//! The drawn table. It shows the first and the last rows of a long result and leaves out the middle, cuts long
//! texts with `…`, drops middle columns that do not fit on the screen, and never cuts a number.
//!
//! Only the rows that will be shown are kept: the first half as it comes, the last half as a ring.

use std::{collections::VecDeque, io::Write};

use apiary_core::units;
use arrow::{
    array::RecordBatch,
    datatypes::{DataType, SchemaRef},
    error::ArrowError,
    util::display::{ArrayFormatter, FormatOptions},
};
use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Row, Table, Width, presets};

/// What a NULL looks like.
const NULL: &str = "NULL";
/// A text column is cut to no less than this to make room for others.
const TEXT_WIDTH_MIN: u16 = 10;
/// A single text is cut here even when there is room: a table is for looking, not for carrying.
const TEXT_WIDTH_MAX: u16 = 120;
/// Border, padding left and right of each column.
const COLUMN_FRAME: u16 = 3;
/// Stands where something was left out.
const GAP: &str = "…";

/// How much a table may show.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct TableLayout {
    /// Columns on the screen; `None` for no limit.
    pub(crate) width: Option<u16>,
    /// Rows before the middle is left out; `None` for no limit.
    pub(crate) rows: Option<usize>,
}

/// Keeps what will be shown and draws it at the end.
#[derive(Debug)]
pub(crate) struct TableWriter<W: Write> {
    out: W,
    names: Vec<String>,
    right: Vec<bool>,
    layout: TableLayout,
    head: Vec<Vec<String>>,
    tail: VecDeque<Vec<String>>,
    seen: usize,
}

impl<W: Write> TableWriter<W> {
    pub(crate) fn new(out: W, schema: &SchemaRef, layout: TableLayout) -> Self {
        Self {
            out,
            names: schema.fields().iter().map(|field| field.name().clone()).collect(),
            right: schema.fields().iter().map(|field| is_number(field.data_type())).collect(),
            layout,
            head: Vec::new(),
            tail: VecDeque::new(),
            seen: 0,
        }
    }

    /// Keeps the rows that can still be shown. Rows that certainly fall into the gap are not even formatted.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        let options = FormatOptions::default()
            .with_null(NULL)
            .with_timestamp_format(Some("%Y-%m-%d %H:%M:%S%.f"))
            .with_timestamp_tz_format(Some("%Y-%m-%d %H:%M:%S%.f%:z"))
            .with_datetime_format(Some("%Y-%m-%d %H:%M:%S%.f"));
        let columns =
            batch.columns().iter().map(|c| ArrayFormatter::try_new(c, &options)).collect::<Result<Vec<_>, _>>()?;
        let (head_max, tail_max) = self.kept();
        for row in 0..batch.num_rows() {
            let left_in_batch = batch.num_rows() - row;
            self.seen += 1;
            let in_head = self.head.len() < head_max;
            if !in_head && left_in_batch > tail_max {
                continue;
            }
            let cells = columns.iter().map(|column| column.value(row).try_to_string().map(|text| one_line(&text)));
            let cells = cells.collect::<Result<Vec<_>, _>>()?;
            if in_head {
                self.head.push(cells);
            } else {
                if self.tail.len() == tail_max {
                    self.tail.pop_front();
                }
                self.tail.push_back(cells);
            }
        }
        Ok(())
    }

    /// Rows kept from the beginning and from the end.
    fn kept(&self) -> (usize, usize) {
        match self.layout.rows {
            None => (usize::MAX, 0),
            Some(rows) => (rows.max(2).div_ceil(2), rows.max(2) / 2),
        }
    }

    pub(crate) fn finish(mut self) -> Result<(), ArrowError> {
        if self.names.is_empty() {
            return Ok(());
        }
        let left_out = self.seen - self.head.len() - self.tail.len();
        let table = self.draw(left_out > 0);
        for line in table.lines() {
            writeln!(self.out, "{}", line.trim_end())?;
        }
        if left_out > 0 {
            let shown = self.seen - left_out;
            writeln!(self.out, "{} of {} shown", units::count(shown as u64), units::counted(self.seen as u64, "row"))?;
        }
        self.out.flush().map_err(ArrowError::from)
    }

    /// How wide each column would like to be.
    fn natural_widths(&self) -> Vec<u16> {
        let mut table = Table::new();
        table.add_row(&self.names).add_rows(&self.head).add_rows(&self.tail);
        table.column_max_content_widths().into_iter().map(|width| width.max(1)).collect()
    }

    fn draw(&self, gap: bool) -> Table {
        let columns = fit(&self.natural_widths(), &self.right, self.layout.width);
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Disabled);
        table.force_no_tty().set_truncation_indicator(GAP).set_delimiter('\0');
        let pick = |row: &[String]| -> Vec<String> {
            columns.iter().map(|column| column.source.map_or(GAP, |i| &row[i]).to_owned()).collect()
        };
        let line = |cells: Vec<String>| {
            let mut row = Row::from(cells);
            row.max_height(1);
            row
        };
        table.set_header(line(pick(&self.names)));
        self.head.iter().for_each(|row| _ = table.add_row(line(pick(row))));
        if gap {
            table.add_row(line(columns.iter().map(|_| GAP.to_owned()).collect()));
        }
        self.tail.iter().for_each(|row| _ = table.add_row(line(pick(row))));
        for (column, place) in columns.iter().zip(table.column_iter_mut()) {
            place.set_constraint(ColumnConstraint::Absolute(Width::Fixed(column.width + 2)));
            if column.source.is_some_and(|i| self.right[i]) {
                place.set_cell_alignment(CellAlignment::Right);
            }
        }
        table
    }
}

/// One column as drawn: which column of the result (`None`: the gap) and how wide.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Shown {
    source: Option<usize>,
    width: u16,
}

/// Which columns fit into `screen`, and how wide each is: texts give way first, then columns from the middle.
fn fit(natural: &[u16], number: &[bool], screen: Option<u16>) -> Vec<Shown> {
    let capped = |i: usize| if number[i] { natural[i] } else { natural[i].min(TEXT_WIDTH_MAX) };
    let mut shown: Vec<Shown> = (0..natural.len()).map(|i| Shown { source: Some(i), width: capped(i) }).collect();
    let Some(screen) = screen else { return shown };
    let least =
        |column: &Shown| column.source.map_or(1, |i| if number[i] { capped(i) } else { capped(i).min(TEXT_WIDTH_MIN) });
    let total = |shown: &[Shown], width: &dyn Fn(&Shown) -> u16| {
        1 + shown.iter().map(|column| u32::from(width(column)) + u32::from(COLUMN_FRAME)).sum::<u32>()
    };
    // Leave out columns around the middle until the rest fits at its narrowest; two always stay.
    while total(&shown, &least) > u32::from(screen) && shown.iter().filter(|c| c.source.is_some()).count() > 2 {
        match shown.iter().position(|column| column.source.is_none()) {
            None => shown[natural.len() / 2] = Shown { source: None, width: 1 },
            Some(gap) => {
                let before = gap;
                let after = shown.len() - gap - 1;
                shown.remove(if before >= after { gap - 1 } else { gap + 1 });
            }
        }
    }
    // Take from the widest text, one column at a time, until everything fits.
    while total(&shown, &|column| column.width) > u32::from(screen) {
        let widest = shown.iter_mut().filter(|column| column.width > least(column)).max_by_key(|column| column.width);
        let Some(widest) = widest else { break };
        widest.width -= 1;
    }
    shown
}

/// Line breaks and tabs shown as signs, so that one row stays one line.
fn one_line(text: &str) -> String {
    if !text.contains(char::is_control) {
        return text.to_owned();
    }
    text.chars()
        .map(|c| match c {
            '\n' => '↵',
            c if c.is_control() => ' ',
            c => c,
        })
        .collect()
}

fn is_number(data_type: &DataType) -> bool {
    data_type.is_numeric()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(shown: &[Shown]) -> Vec<Option<usize>> {
        shown.iter().map(|column| column.source).collect()
    }

    #[test]
    fn without_a_screen_nothing_gives_way() {
        let shown = fit(&[5, 300], &[true, false], None);
        assert_eq!((shown[0].width, shown[1].width), (5, TEXT_WIDTH_MAX));
    }

    #[test]
    fn the_widest_text_gives_way_first_and_numbers_never() {
        let shown = fit(&[20, 50, 12], &[true, false, false], Some(60));
        assert_eq!(shown.iter().map(|column| column.width).collect::<Vec<_>>(), [20, 18, 12]);
    }

    #[test]
    fn columns_leave_from_the_middle() {
        let shown = fit(&[10; 9], &[true; 9], Some(60));
        assert_eq!(sources(&shown), [Some(0), Some(1), None, Some(7), Some(8)]);
    }

    #[test]
    fn two_columns_stay_even_on_a_tiny_screen() {
        let shown = fit(&[30; 5], &[true; 5], Some(20));
        assert_eq!(sources(&shown), [Some(0), None, Some(4)]);
    }
}
