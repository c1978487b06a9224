//! Work that falls into pieces, on several cores of this machine at once.

use std::{
    num::NonZero,
    panic,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

/// Does `count` pieces of work on this thread and others, at most `threads_max` together and never more than there are
/// cores; returns what they gave, in order. Each thread takes the next piece that nobody has taken, so none waits for
/// another that had the larger ones. After an error no piece begins any more, and the first piece that failed is told. A
/// panic of a piece is one of the caller.
pub fn side_by_side<T: Send, E: Send>(
    count: usize,
    threads_max: usize,
    work: impl Fn(usize) -> Result<T, E> + Sync,
) -> Result<Vec<T>, E> {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let some = || {
        let mut done = Vec::new();
        while !failed.load(Ordering::Relaxed) {
            let piece = next.fetch_add(1, Ordering::Relaxed);
            if piece >= count {
                break;
            }
            let result = work(piece);
            failed.fetch_or(result.is_err(), Ordering::Relaxed);
            done.push((piece, result));
        }
        done
    };
    let mut done = thread::scope(|scope| {
        // Where the system gives no thread, fewer do it.
        let other = |_| thread::Builder::new().spawn_scoped(scope, some).ok();
        let others: Vec<_> = (1..threads_max.min(cores).min(count)).filter_map(other).collect();
        let mut done = some();
        for other in others {
            done.extend(other.join().unwrap_or_else(|panicked| panic::resume_unwind(panicked)));
        }
        done
    });
    // A piece that began was ended, and they begin in order: before the first that failed all are there.
    done.sort_unstable_by_key(|(piece, _)| *piece);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_stand_in_order_and_the_first_error_is_told() {
        let twice = |count: usize| side_by_side(count, 4, |piece| Ok::<_, ()>(piece * 2)).unwrap();
        assert_eq!((twice(0), twice(1)), (vec![], vec![0]));
        assert_eq!(twice(1000), (0..1000).map(|piece| piece * 2).collect::<Vec<_>>());
        for _ in 0..100 {
            let odd = |piece: usize| if piece >= 7 && piece % 2 == 1 { Err(piece) } else { Ok(piece) };
            assert_eq!(side_by_side(50, 4, odd), Err(7));
        }
    }

    #[test]
    #[should_panic(expected = "piece 3")]
    fn a_panic_is_the_callers() {
        let _ = side_by_side(8, 4, |piece| if piece == 3 { panic!("piece 3") } else { Ok::<_, ()>(piece) });
    }
}
