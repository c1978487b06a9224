//! Holds what clients of real processes were told against a frame's log in a folder.
//!
//! `linear-check FOLDER OPERATIONS.json`: the folder holds `<version>.json` from version 0 on, the operations are those of
//! [`History::from_json`]. Prints how much was checked and ends with 0, or with the faults and 1.

use std::{env, fs, path::Path, process::ExitCode};

use apiary_tests::linear::{Entry, History};

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let [folder, operations] = args.as_slice() else {
        eprintln!("linear-check: write linear-check FOLDER OPERATIONS.json");
        return ExitCode::from(2);
    };
    match read(Path::new(folder), Path::new(operations)) {
        Ok(history) => told(&history),
        Err(why) => {
            eprintln!("linear-check: {why}");
            ExitCode::from(2)
        }
    }
}

fn told(history: &History) -> ExitCode {
    let faults = history.faults();
    for fault in &faults {
        eprintln!("{fault}");
    }
    eprintln!("{} operations, {} entries, {} faults", history.ops.len(), history.log.len(), faults.len());
    if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn read(folder: &Path, operations: &Path) -> Result<History, String> {
    let failed = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
    let mut log = Vec::new();
    // Versions have no gaps: the log ends where none follows.
    while let Ok(body) = fs::read(folder.join(format!("{:020}.json", log.len()))) {
        log.push(Entry::from_body(log.len() as u64, &body)?);
    }
    let ops = fs::read_to_string(operations).map_err(|error| failed(operations, error))?;
    History::from_json(log, &ops)
}
