//! One client: takes a request, sends it, sees it to its end with resends and retries, records it.

use std::{
    cell::RefCell,
    future::Future,
    pin::Pin,
    rc::Rc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::uri::PathAndQuery;

use super::{
    feed::Outcome,
    lanes::Lane,
    park,
    phase::{Desk, Job, Phase, Prepared},
};
use crate::{
    net::{
        drain::Drain,
        exchange::{Answer, Call, Cancel, Client},
        failure::Failure,
    },
    pace::clock::Clock as _,
};

/// So often a request is sent again because the server had not processed it.
const MAX_RESENDS: u32 = 16;

/// Works until the phase has nothing more; gives the lane back.
pub(crate) async fn work(phase: Rc<Phase>, me: usize, mut lane: Lane) -> Lane {
    let drain = Rc::new(RefCell::new(Drain::default()));
    while let (Some(job), Some(desk)) = (phase.next_job(me).await, phase.desks.get(me)) {
        let prepared = phase
            .templates
            .borrow()
            .get(job.item.template as usize)
            .map(Rc::clone);
        let Some(prepared) = prepared else {
            // Batches are checked: every index has a template.
            continue;
        };
        let client = AtDesk {
            phase: &phase,
            desk,
            job: &job,
            series: prepared.series as usize,
        };
        park::departed();
        let now = Instant::now();
        desk.flight.begin(now);
        client.note_taken(now);
        if phase.is_aborted() {
            // The abort found the request on the desk, not yet under way.
            desk.flight.cancel(Cancel::Abort);
        }
        let answer = client.serve(&mut lane, &prepared, &drain).await;
        desk.flight.finish();
        park::arrived();
        client.record(&answer, &prepared, &drain.borrow());
    }
    lane
}

/// A client with its request.
struct AtDesk<'a> {
    phase: &'a Phase,
    desk: &'a Desk,
    job: &'a Job,
    series: usize,
}

impl Client for AtDesk<'_> {
    fn depart(&self) -> Instant {
        let now = Instant::now();
        if self.desk.flight.mark_sent(now) {
            self.note_sent(now);
        }
        now
    }

    fn hold(&self, time: Duration) -> Pin<Box<dyn Future<Output = ()> + '_>> {
        self.desk.flight.pause();
        Box::pin(async move {
            tokio::select! {
                () = tokio::time::sleep(time) => {}
                () = self.phase.stopped() => {}
            }
        })
    }
}

impl AtDesk<'_> {
    fn behind_ns(&self, now: Instant) -> u64 {
        let now_ns = self.phase.clock.at_ns(now);
        now_ns.saturating_sub(self.job.intended_ns)
    }

    /// The request is in the hands of its client. Up to here a delay is ours; a wait for a stream or a
    /// connection, which may follow, is the server's.
    fn note_taken(&self, now: Instant) {
        if self.job.was_client_free {
            let mut recorder = self.phase.recorder.borrow_mut();
            recorder.send_lag.saturating_record(self.behind_ns(now));
        }
    }

    fn note_sent(&self, now: Instant) {
        let behind_ns = self.behind_ns(now);
        let mut recorder = self.phase.recorder.borrow_mut();
        if let Some(series) = recorder.series.get_mut(self.series) {
            series.sent += 1;
            series.late += u64::from(behind_ns > self.phase.rules.late_after_ns);
        }
    }

    /// Sends until there is an answer that counts.
    async fn serve(
        &self,
        lane: &mut Lane,
        prepared: &Prepared,
        drain: &Rc<RefCell<Drain>>,
    ) -> Answer {
        let item = &self.job.item;
        let flight = &self.desk.flight;
        let own_path = match &item.path {
            None => None,
            Some(path) => match prefixed(&self.phase.path_prefix, path) {
                Ok(path) => Some(path),
                Err(failure) => return Answer::failed(failure),
            },
        };
        let call = Call {
            common: &prepared.common,
            own_path,
            own_body: item.body.as_ref(),
        };
        let (mut resends, mut retries) = (0, 0);
        loop {
            drain
                .borrow_mut()
                .reset(prepared.kind, !prepared.pointers.is_empty());
            let exchange = lane.exchange(&call, prepared.kind, drain, self);
            let answer = flight.guard(exchange).await;
            if flight.is_cancelled() {
                lane.given_up();
                return answer;
            }
            if answer.is_unprocessed && resends < MAX_RESENDS {
                resends += 1;
                self.phase.recorder.borrow_mut().counters.resent += 1;
                continue;
            }
            let pause = match answer.retry_after {
                Some(seconds) if is_retryable(answer.status) => Duration::from_secs(seconds),
                _ => return answer,
            };
            let rules = &self.phase.rules;
            if retries >= rules.max_retries || self.phase.is_stopped() {
                return answer;
            }
            if rules.deadline.is_some_and(|longest| pause > longest) {
                // Who asks for more than a request may take says no.
                return answer;
            }
            flight.pause();
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.phase.stopped() => return answer,
            }
            flight.resume();
            retries += 1;
            if let Some(series) = self.phase.recorder.borrow_mut().series.get_mut(self.series) {
                series.retries += 1;
            }
        }
    }

    fn record(&self, answer: &Answer, prepared: &Prepared, drain: &Drain) {
        let phase = self.phase;
        if self.desk.flight.sent().is_none() {
            // It never left: no connection, or no stream in time. It was handed out all the same.
            self.note_sent(answer.ended);
        }
        let ended_ns = phase.clock.at_ns(answer.ended);
        let sent_ns = self
            .desk
            .flight
            .sent()
            .map_or(ended_ns, |sent| phase.clock.at_ns(sent));
        let response_ns = ended_ns.saturating_sub(self.job.intended_ns);
        let service_ns = ended_ns.saturating_sub(sent_ns);
        phase
            .last_answer_ns
            .set(phase.last_answer_ns.get().max(ended_ns));
        {
            let mut recorder = phase.recorder.borrow_mut();
            if let Some(series) = recorder.series.get_mut(self.series) {
                series.received_bytes += answer.bytes;
                series.watch_events += drain.events();
                match &answer.failure {
                    None => series.success(response_ns, service_ns),
                    Some(failure) => series.failure(failure),
                }
            }
            if let Some(raw) = &mut recorder.raw {
                raw.push(
                    prepared.series,
                    self.job.intended_ns,
                    response_ns,
                    service_ns,
                    answer.failure.as_ref(),
                );
            }
        }
        let mut feed = phase.feed.borrow_mut();
        if feed.wants_outcomes() {
            let outcome = Outcome {
                tag: self.job.item.tag,
                template: self.job.item.template,
                status: u32::from(answer.status),
                service_ns,
                size: answer.bytes,
            };
            let was_dry = feed.is_dry();
            feed.note(&outcome, |arena| {
                if prepared.pointers.is_empty() || answer.failure.is_some() {
                    0
                } else {
                    prepared.pointers.read(drain.captured(), arena)
                }
            });
            if was_dry || feed.is_full_of_outcomes() {
                phase.feeder.notify_one();
            }
        }
    }
}

/// kperf retries 429 and every 5xx that says when.
fn is_retryable(status: u16) -> bool {
    status == 429 || (500..600).contains(&status)
}

/// A request's path under the target's prefix.
pub(crate) fn prefixed(prefix: &str, path: &PathAndQuery) -> Result<PathAndQuery, Failure> {
    if prefix.is_empty() {
        return Ok(path.clone());
    }
    let whole = [prefix, path.as_str()].concat();
    PathAndQuery::from_maybe_shared(Bytes::from(whole))
        .map_err(|error| Failure::unknown(format!("path: {error}")))
}

/// Keeps time off the deadline: wakes clients whose exchange has taken too long.
pub(crate) async fn sweep_deadlines(phase: Rc<Phase>) {
    let Some(deadline) = phase.rules.deadline else {
        return;
    };
    loop {
        let now = Instant::now();
        let mut next = now + deadline;
        for desk in &phase.desks {
            let Some(since) = desk.flight.since() else {
                continue;
            };
            let end = since + deadline;
            if end <= now {
                desk.flight.cancel(Cancel::Deadline);
            } else {
                // Whatever departs from now on ends later than `now + deadline`.
                next = next.min(end);
            }
        }
        let next = next.max(now + Duration::from_millis(1));
        tokio::time::sleep_until(next.into()).await;
    }
}

/// Releases arrivals when they are due.
pub(crate) async fn pace(phase: Rc<Phase>) {
    let timer = crate::pace::timer::Timer::new();
    while !phase.is_over() {
        phase.release();
        if phase.is_feed_low() {
            phase.feeder.notify_one();
        }
        let next_ns = if phase.has_idle_clients() {
            phase.dispatch.borrow().next_release_ns()
        } else {
            None
        };
        match next_ns {
            Some(next_ns) if next_ns > phase.clock.now_ns() => {
                let moment = phase.clock.moment(next_ns);
                park::set_next_due(Some(moment));
                tokio::select! {
                    () = timer.sleep_until(moment) => {}
                    () = phase.pacer.notified() => {}
                }
                park::set_next_due(None);
            }
            // It came due since the release above.
            Some(_) if !phase.feed.borrow().is_empty() => {}
            // Nobody is free, or the source has nothing: whoever changes that calls.
            _ => {
                phase.pacer_waits_for_client.set(true);
                phase.pacer.notified().await;
                phase.pacer_waits_for_client.set(false);
            }
        }
    }
}

/// A source that had nothing is asked again so often when no outcome comes.
const ASK_AGAIN: Duration = Duration::from_millis(1);

/// Keeps requests ready.
pub(crate) async fn feed(phase: Rc<Phase>) {
    let mut last_call = Duration::ZERO;
    while !phase.is_over() {
        if phase.feed.borrow().is_dry() {
            tokio::select! {
                () = phase.feeder.notified() => {}
                () = tokio::time::sleep(ASK_AGAIN) => {}
            }
        } else if !phase.is_feed_low() && !phase.feed.borrow().is_full_of_outcomes() {
            phase.feeder.notified().await;
        }
        if phase.is_over() {
            break;
        }
        let is_wanted = phase.is_feed_low() || phase.feed.borrow().is_dry();
        if !is_wanted {
            let result = phase.feed.borrow_mut().report_if_many();
            if let Err(error) = result {
                phase.fail(error);
            }
            continue;
        }
        let next_ns = phase.dispatch.borrow().next_release_ns();
        let is_due_soon = next_ns.is_some_and(|next_ns| {
            let until = next_ns.saturating_sub(phase.clock.now_ns());
            until > 0 && Duration::from_nanos(until) < last_call
        });
        if is_due_soon && phase.feed.borrow().len() > 4 {
            // After the release there is more time: the pacer calls again then.
            phase.feeder.notified().await;
            if phase.is_over() {
                break;
            }
        }
        let started = Instant::now();
        phase.refill();
        last_call = started.elapsed();
        if !phase.feed.borrow().is_empty() {
            phase.release();
        }
        if phase.pacer_waits_for_client.get() {
            phase.pacer.notify_one();
        }
        tokio::task::yield_now().await;
    }
}
