//! Every exchange of every runner, one behind the other, in the order they ended.

use crate::{
    document,
    merged::{FailedExchange, Samples},
};

/// Kept as long as every document has it: percentiles that are exact for a part of the requests and miss the rest would be
/// wrong without a sign of it.
#[derive(Clone, Debug)]
pub(crate) enum Raw {
    /// Not to be kept; whether a document has it.
    Unwanted(bool),
    /// No document yet.
    Nothing,
    Kept(Samples),
    /// Some have it, some do not.
    Dropped,
    /// Nobody has it.
    Without,
}

/// Checks that the columns fit together.
pub(crate) fn check(raw: &document::Raw<'_>, series: usize) -> Result<(), String> {
    let rows = raw.series.len();
    let columns = [
        raw.intended_unix_us.len(),
        raw.response_ns.len(),
        raw.service_ns.len(),
        raw.failure.len(),
    ];
    if columns.iter().any(|length| *length != rows) {
        return Err("its columns of raw data have different lengths".to_owned());
    }
    if raw.series.iter().any(|index| *index as usize >= series) {
        return Err("its raw data refers to a series that is not there".to_owned());
    }
    let failures = raw.failures.len();
    if raw.failure.iter().any(|index| *index as usize > failures) {
        return Err("its raw data refers to a failure that is not there".to_owned());
    }
    Ok(())
}

impl Raw {
    /// Adds a document's, whose series are the `series` of the sum.
    pub(crate) fn add(&mut self, raw: Option<&document::Raw<'_>>, series: &[usize]) {
        if let (Self::Nothing, Some(_)) = (&*self, raw) {
            *self = Self::Kept(Samples::default());
        }
        match (&mut *self, raw) {
            (Self::Kept(kept), Some(raw)) => {
                let failures: Vec<u32> = raw
                    .failures
                    .iter()
                    .map(|failure| {
                        kept.failure_number(
                            failure.class.as_str(),
                            failure.status,
                            failure.message.as_str(),
                        )
                    })
                    .collect();
                kept.series.extend(
                    raw.series
                        .iter()
                        .map(|index| series.get(*index as usize).map_or(0, |at| *at as u32)),
                );
                kept.intended_unix_us.extend(&raw.intended_unix_us);
                kept.response_ns.extend(&raw.response_ns);
                kept.service_ns.extend(&raw.service_ns);
                kept.failure.extend(raw.failure.iter().map(|index| {
                    let number = (*index as usize).checked_sub(1);
                    number.and_then(|at| failures.get(at).copied()).unwrap_or(0)
                }));
            }
            (Self::Unwanted(seen), raw) => *seen |= raw.is_some(),
            (Self::Nothing, None) => *self = Self::Without,
            (Self::Kept(_), None) | (Self::Without, Some(_)) => *self = Self::Dropped,
            (Self::Nothing, Some(_)) | (Self::Without, None) | (Self::Dropped, _) => {}
        }
    }

    /// Adds another sum's, whose series are the `series` of this one.
    pub(crate) fn absorb(&mut self, other: Self, series: &[usize]) {
        match (&mut *self, other) {
            (_, Self::Nothing) | (Self::Dropped, _) | (Self::Without, Self::Without) => {}
            (Self::Nothing, Self::Kept(mut theirs)) => {
                for index in &mut theirs.series {
                    *index = series.get(*index as usize).map_or(0, |at| *at as u32);
                }
                *self = Self::Kept(theirs);
            }
            (Self::Unwanted(seen), Self::Unwanted(theirs)) => *seen |= theirs,
            (Self::Unwanted(_), _) => {}
            (Self::Nothing, other) => *self = other,
            (Self::Kept(kept), Self::Kept(theirs)) => {
                let failures: Vec<u32> = theirs
                    .failures
                    .iter()
                    .map(|one| kept.failure_number(&one.class, one.status, &one.message))
                    .collect();
                kept.series.extend(
                    theirs
                        .series
                        .iter()
                        .map(|index| series.get(*index as usize).map_or(0, |at| *at as u32)),
                );
                kept.intended_unix_us.extend(theirs.intended_unix_us);
                kept.response_ns.extend(theirs.response_ns);
                kept.service_ns.extend(theirs.service_ns);
                kept.failure.extend(theirs.failure.iter().map(|index| {
                    let number = (*index as usize).checked_sub(1);
                    number.and_then(|at| failures.get(at).copied()).unwrap_or(0)
                }));
            }
            _ => *self = Self::Dropped,
        }
    }

    /// Whether there is some that was not wanted.
    pub(crate) fn is_unwanted(&self) -> bool {
        matches!(self, Self::Unwanted(true))
    }

    pub(crate) fn is_dropped(&self) -> bool {
        matches!(self, Self::Dropped)
    }

    /// In the order the exchanges ended.
    pub(crate) fn samples(self) -> Option<Samples> {
        let Self::Kept(kept) = self else {
            return None;
        };
        let mut order: Vec<(u128, u32)> = kept
            .intended_unix_us
            .iter()
            .zip(&kept.response_ns)
            .zip(0_u32..)
            .map(|((intended, response), row)| {
                (u128::from(*intended) * 1_000 + u128::from(*response), row)
            })
            .collect();
        if order.len() < kept.series.len() {
            // More rows than can be numbered: the order of the files has to do.
            return Some(kept);
        }
        order.sort_unstable();
        fn sorted<T: Copy>(column: &[T], order: &[(u128, u32)]) -> Vec<T> {
            order
                .iter()
                .filter_map(|(_, row)| column.get(*row as usize).copied())
                .collect()
        }
        Some(Samples {
            series: sorted(&kept.series, &order),
            intended_unix_us: sorted(&kept.intended_unix_us, &order),
            response_ns: sorted(&kept.response_ns, &order),
            service_ns: sorted(&kept.service_ns, &order),
            failure: sorted(&kept.failure, &order),
            failures: kept.failures,
        })
    }
}

impl Samples {
    /// 1 + the index of a kind of failure, which is added if it is new.
    fn failure_number(&mut self, class: &str, status: u32, message: &str) -> u32 {
        let is_it = |known: &FailedExchange| {
            known.status == status && known.class == class && known.message == message
        };
        let at = self.failures.iter().position(is_it).unwrap_or_else(|| {
            self.failures.push(FailedExchange {
                class: class.to_owned(),
                status,
                message: message.to_owned(),
            });
            self.failures.len() - 1
        });
        at as u32 + 1
    }
}
