//! A benchmark in a cluster from its first object to its last.
//!
//! Whatever ends the wait, the orchestrator is asked for what it has before everything is removed: its pod is deleted
//! gracefully, and what it hands over within the grace is kept. As long as the API server does not answer, the
//! benchmark goes on without us; what may be there and could not be read is not removed.

use std::{collections::BTreeMap, time::Duration};

use kperf_cluster::{
    Session,
    api::{ApiFailure, Cluster, Code, DeleteOptions, ListBounds, Scope},
    cleanup::{self, CleanReport},
    trouble::{Trouble, trouble},
};
use kperf_load::Stop;
use tokio::time::{Instant, sleep};

use crate::{
    error::LaunchError,
    objects::{GRACE_SECONDS, ORCHESTRATOR, objects, workers},
    results::{PREFIX, ResultsTarget, Said, State, again, config_map, is_passing},
    rights,
    spec::{LaunchSpec, SpecError},
};

/// Between two looks at pods and results.
const POLL: Duration = Duration::from_secs(1);
/// Between two looks at an orchestrator that is about to end.
const SHORT_POLL: Duration = Duration::from_millis(250);
/// Longest that everything may take to be gone, beyond the run's own timeout.
const CLEAN_UP: Duration = Duration::from_secs(60);

/// What happens, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// The objects are there.
    Created {
        /// How many.
        objects: usize,
    },
    /// Something keeps a pod from running; said once for each reason.
    Trouble(&'a Trouble),
    /// What the orchestrator says.
    Orchestrator(&'a str),
    /// The API server does not answer, and is asked again; said once for each outage.
    Silent(&'a str),
    /// The orchestrator is asked for what it has.
    HandingOver,
    /// Everything is being removed.
    Cleaning,
}

/// A run that came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// [`State::Done`] or [`State::Failed`].
    pub state: State,
    /// What the orchestrator said last.
    pub message: String,
}

impl Finished {
    fn of(said: Said) -> Self {
        Self {
            state: said.state,
            message: said.message,
        }
    }
}

/// How a launch ended, and what became of its objects.
#[derive(Debug)]
pub struct Launched {
    /// What came of it.
    pub outcome: Result<Finished, LaunchError>,
    /// The results file; there may be one of a part of the tasks, also when the outcome is an error.
    pub results: Option<Vec<u8>>,
    /// Why results that are in the cluster, or may be, could not be read. Nothing is removed then.
    pub unread: Option<LaunchError>,
    /// What was removed, and what is left.
    pub clean: CleanReport,
}

/// Launches a benchmark, waits for its results and removes it, whatever happens. `stop` ends the wait: what there is is
/// handed over, and the removal begins. An abort gives that up too, and what is left has the run's label. Ends within
/// the run's deadline, four times its timeout and two minutes.
pub async fn launch(
    cluster: &Cluster,
    spec: &LaunchSpec,
    stop: &Stop,
    progress: &(dyn Fn(Event<'_>) + Sync),
) -> Launched {
    let refused = |error| Launched {
        outcome: Err(error),
        results: None,
        unread: None,
        clean: CleanReport::default(),
    };
    if let Err(error) = spec.check() {
        return refused(error.into());
    }
    let grants = match rights::grants(&spec.namespace) {
        Ok(grants) => grants,
        // Names of namespaces are all that can be wrong with them.
        Err(_) => return refused(SpecError::Namespace(spec.namespace.clone()).into()),
    };
    let session = Session::new(
        cluster.clone(),
        spec.run.clone(),
        grants,
        std::time::Instant::now(),
        stop.clone(),
    );
    let mut outcome = tokio::select! {
        biased;
        () = stop.stopped() => Err(LaunchError::Stopped),
        outcome = run(&session, spec, progress) => outcome,
    };
    let mut unread = None;
    let said = match &outcome {
        Ok(said) => Some(said.clone()),
        // It goes on without us.
        Err(_) if spec.keep => None,
        Err(_) => tokio::select! {
            biased;
            () = stop.aborted() => None,
            said = hand_over(&session, spec, progress) => said.unwrap_or_else(|failure| {
                unread = Some(LaunchError::api("asking the orchestrator for what it has")(failure));
                None
            }),
        },
    };
    let mut results = None;
    if let Some(said) = said {
        let target = target(spec);
        tokio::select! {
            biased;
            () = stop.aborted() => {}
            read = said.read(cluster, &target) => match read {
                Ok(read) => results = read,
                Err(error) if spec.keep || is_not_there(&error) => {
                    // The first error says more.
                    outcome = outcome.and(Err(error));
                }
                Err(error) => unread = Some(error),
            },
        }
    }
    if spec.keep || unread.is_some() {
        return Launched {
            outcome: outcome.map(Finished::of),
            results,
            unread,
            clean: CleanReport::default(),
        };
    }
    progress(Event::Cleaning);
    let recorded = session.objects();
    let clean = tokio::select! {
        biased;
        () = stop.aborted() => CleanReport {
            errors: vec!["the removal was given up".to_owned()],
            ..CleanReport::default()
        },
        clean = cleanup::clean(cluster, &spec.run, Some(&recorded), spec.timeout + CLEAN_UP, |_| {}) => clean,
    };
    Launched {
        outcome: outcome.map(Finished::of),
        results,
        unread: None,
        clean,
    }
}

/// What somebody else has removed is not left to be read.
fn is_not_there(error: &LaunchError) -> bool {
    matches!(error, LaunchError::Api { failure, .. } if failure.code == Code::NotFound)
}

fn target(spec: &LaunchSpec) -> ResultsTarget {
    ResultsTarget {
        namespace: spec.namespace.clone(),
        prefix: PREFIX.to_owned(),
    }
}

/// Ends the orchestrator and waits for its last words. None when there is no orchestrator, or it says nothing more.
///
/// # Errors
/// The server does not answer: what there is, is not known.
async fn hand_over(
    session: &Session,
    spec: &LaunchSpec,
    progress: &(dyn Fn(Event<'_>) + Sync),
) -> Result<Option<Said>, ApiFailure> {
    let objects = session.objects();
    let made = objects
        .kinds()
        .find(|(resource, _)| resource.group.is_empty() && resource.plural == "pods");
    let Some((pods, _)) = made else {
        return Ok(None);
    };
    progress(Event::HandingOver);
    // The session takes no more requests after a stop.
    let cluster = session.cluster();
    let ended = again(|| async {
        cluster
            .delete(
                pods,
                &spec.namespace,
                ORCHESTRATOR,
                &DeleteOptions::default(),
            )
            .await
    })
    .await;
    match ended {
        // It may have said something before it went.
        Err(failure) if failure.code != Code::NotFound => return Err(failure),
        _ => {}
    }
    let last_words = async || match config_map(cluster, &spec.namespace, PREFIX).await {
        Ok(index) => Ok(Said::of(&index)),
        Err(failure) if failure.code == Code::NotFound => Ok(Said::default()),
        Err(failure) => Err(failure),
    };
    let scope = Scope {
        namespace: spec.namespace.clone(),
        field_selector: format!("metadata.name={ORCHESTRATOR}"),
        ..Scope::default()
    };
    let until = Instant::now() + Duration::from_secs(GRACE_SECONDS);
    loop {
        let said = last_words().await?;
        if said.is_last() {
            return Ok(Some(said));
        }
        let left = again(|| cluster.list(pods, &scope, ListBounds::default())).await?;
        if left.is_empty() {
            // What it said last may have come between the two questions.
            let said = last_words().await?;
            return Ok(said.is_last().then_some(said));
        }
        if Instant::now() > until {
            return Ok(None);
        }
        sleep(SHORT_POLL).await;
    }
}

async fn run(
    session: &Session,
    spec: &LaunchSpec,
    progress: &(dyn Fn(Event<'_>) + Sync),
) -> Result<Said, LaunchError> {
    let objects = objects(spec);
    for object in &objects {
        let what = || {
            let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
            format!(
                "creating {} {}",
                text(&object["kind"]),
                text(&object["metadata"]["name"])
            )
        };
        session
            .create(&object.to_string())
            .await
            .map_err(LaunchError::api(what()))?;
    }
    progress(Event::Created {
        objects: objects.len(),
    });
    wait(session, spec, progress).await
}

async fn wait(
    session: &Session,
    spec: &LaunchSpec,
    progress: &(dyn Fn(Event<'_>) + Sync),
) -> Result<Said, LaunchError> {
    let begun = Instant::now();
    // Pods come up, workers register, all that there is to do, and the last words.
    let longest = spec.deadline + spec.timeout * 3;
    let mut watch = Watch::default();
    let mut silence: Option<String> = None;
    loop {
        match answered(watch.look(session, spec, progress).await)? {
            Answer::Last(said) => return Ok(said),
            Answer::More => silence = None,
            // The orchestrator does not need the API server for its work, and its results wait for us.
            Answer::None(why) => {
                if silence.is_none() {
                    progress(Event::Silent(&why));
                }
                silence = Some(why);
            }
        }
        if begun.elapsed() > longest {
            return Err(LaunchError::TimedOut {
                after: begun.elapsed(),
                last: match silence {
                    Some(why) => format!("the API server does not answer: {why}"),
                    None if watch.last.message.is_empty() => {
                        "the orchestrator has not said anything".to_owned()
                    }
                    None => format!("the orchestrator said last: {}", watch.last.message),
                },
            });
        }
        sleep(POLL).await;
    }
}

/// What came of a look at a benchmark.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    /// No more will be said.
    Last(Said),
    /// It is under way.
    More,
    /// The server did not answer, which may pass.
    None(String),
}

fn answered(looked: Result<Option<Said>, LaunchError>) -> Result<Answer, LaunchError> {
    match looked {
        Ok(Some(said)) => Ok(Answer::Last(said)),
        Ok(None) => Ok(Answer::More),
        Err(LaunchError::Api { failure, .. }) if is_passing(&failure) => {
            Ok(Answer::None(failure.message))
        }
        Err(error) => Err(error),
    }
}

/// A benchmark that is looked at again and again.
#[derive(Debug, Default)]
struct Watch {
    last: Said,
    troubles: Troubles,
    is_gone: bool,
}

impl Watch {
    /// The orchestrator's last words, once they are there.
    async fn look(
        &mut self,
        session: &Session,
        spec: &LaunchSpec,
        progress: &(dyn Fn(Event<'_>) + Sync),
    ) -> Result<Option<Said>, LaunchError> {
        let index = session
            .get("v1", "ConfigMap", &spec.namespace, PREFIX)
            .await
            .map_err(LaunchError::api("asking how far the benchmark is"))?;
        let said = Said::of(&index);
        if said.message != self.last.message && !said.message.is_empty() {
            progress(Event::Orchestrator(&said.message));
        }
        self.last = said;
        if self.last.is_last() {
            return Ok(Some(self.last.clone()));
        }
        let scope = Scope {
            namespace: spec.namespace.clone(),
            ..Scope::default()
        };
        let pods = session
            .list("v1", "Pod", &scope)
            .await
            .map_err(LaunchError::api("looking at the pods"))?;
        // Looked at twice: it ends after its last words, which may have come since they were looked for.
        if self.is_gone {
            return Err(LaunchError::Pods(vec![format!(
                "{ORCHESTRATOR} is gone, and has handed over nothing"
            )]));
        }
        self.is_gone = !pods.iter().any(|pod| {
            pod["metadata"]["name"] == ORCHESTRATOR && pod["status"]["phase"] != "Succeeded"
        });
        let found: Vec<Trouble> = pods.iter().filter_map(trouble).collect();
        for new in self.troubles.look(found, Instant::now()) {
            progress(Event::Trouble(&new));
        }
        match self
            .troubles
            .hopeless(&workers(spec), Instant::now(), spec.timeout)
        {
            Some(hopeless) => Err(LaunchError::Pods(hopeless)),
            None => Ok(None),
        }
    }
}

/// What is wrong with pods, and since when.
#[derive(Debug, Default)]
struct Troubles(BTreeMap<String, (Trouble, Instant)>);

impl Troubles {
    /// Takes what is wrong now; what is new. A pod that changes from one trouble to another keeps its time.
    fn look(&mut self, found: Vec<Trouble>, now: Instant) -> Vec<Trouble> {
        self.0
            .retain(|pod, _| found.iter().any(|trouble| trouble.pod == *pod));
        let mut new = Vec::new();
        for trouble in found {
            let known = self.0.get(&trouble.pod);
            if known.is_none_or(|(known, _)| known.reason != trouble.reason) {
                new.push(trouble.clone());
            }
            let since = known.map_or(now, |(_, since)| *since);
            self.0.insert(trouble.pod.clone(), (trouble, since));
        }
        new
    }

    /// Why it will come to nothing: for longer than `patience` the orchestrator does not run, or in each network all
    /// workers but one. `workers` are the beginnings of their names and how many there are, for each network.
    fn hopeless(
        &self,
        workers: &[(&str, usize)],
        now: Instant,
        patience: Duration,
    ) -> Option<Vec<String>> {
        let lasting: Vec<&Trouble> = self
            .0
            .values()
            .filter(|(_, since)| now.duration_since(*since) >= patience)
            .map(|(trouble, _)| trouble)
            .collect();
        let of = |name: &str| {
            let is_of = |trouble: &&&Trouble| trouble.pod.starts_with(name);
            lasting.iter().filter(is_of).count()
        };
        let is_enough = |(name, count): &(&str, usize)| count.saturating_sub(of(name)) >= 2;
        let is_hopeless = of(ORCHESTRATOR) > 0 || !workers.iter().any(is_enough);
        is_hopeless.then(|| lasting.iter().map(ToString::to_string).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    fn failure(code: Code, status: u16) -> ApiFailure {
        ApiFailure {
            code,
            status,
            class: String::new(),
            message: code.to_string(),
            retry_after: None,
            may_have_happened: false,
        }
    }

    #[test]
    fn an_outage_does_not_end_the_wait() {
        let look = |failure| answered(Err(LaunchError::api("looking")(failure)));
        for (code, status) in [
            (Code::Unreachable, 0),
            (Code::Timeout, 504),
            (Code::Throttled, 429),
            (Code::Failed, 503),
        ] {
            let answer = look(failure(code, status)).unwrap();
            assert_eq!(answer, Answer::None(code.to_string()));
        }
        look(failure(Code::Forbidden, 403)).unwrap_err();
        look(failure(Code::NotFound, 404)).unwrap_err();
        let stopped = look(failure(Code::Interrupted, 0));
        assert!(matches!(stopped, Err(LaunchError::Stopped)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_passes_is_asked_for_again() {
        let asked = AtomicU32::new(0);
        let ask = async |code| match asked.fetch_add(1, Ordering::Relaxed) {
            0..5 => Err(failure(code, 0)),
            number => Ok(number),
        };
        assert_eq!(again(|| ask(Code::Unreachable)).await, Ok(5));
        asked.store(0, Ordering::Relaxed);
        let refused = again(|| ask(Code::Forbidden)).await;
        assert_eq!(refused.unwrap_err().code, Code::Forbidden);
        assert_eq!(asked.into_inner(), 1);
    }

    fn of(pod: &str, reason: &str) -> Trouble {
        Trouble {
            pod: pod.to_owned(),
            reason: reason.to_owned(),
            message: String::new(),
        }
    }

    #[test]
    fn lasting_troubles_are_hopeless() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let patience = Duration::from_secs(10);
        let mut troubles = Troubles::default();
        let first = vec![of("kperf-worker-0", "ErrImagePull")];
        assert_eq!(troubles.look(first.clone(), at(0)).len(), 1);
        assert!(troubles.look(first, at(1)).is_empty(), "said already");
        let back_off = vec![of("kperf-worker-0", "ImagePullBackOff")];
        assert_eq!(troubles.look(back_off.clone(), at(5)).len(), 1);
        assert_eq!(
            troubles.hopeless(&[("kperf-worker", 2)], at(9), patience),
            None
        );
        // Three workers can do without one of them, two cannot.
        assert_eq!(
            troubles.hopeless(&[("kperf-worker", 3)], at(10), patience),
            None
        );
        let why = troubles
            .hopeless(&[("kperf-worker", 2)], at(10), patience)
            .unwrap();
        assert_eq!(why, ["kperf-worker-0: ImagePullBackOff"]);
        // One that got well begins anew.
        troubles.look(vec![], at(11));
        troubles.look(back_off, at(12));
        assert_eq!(
            troubles.hopeless(&[("kperf-worker", 2)], at(20), patience),
            None
        );
        // Nobody can do without the orchestrator.
        troubles.look(vec![of(ORCHESTRATOR, "CrashLoopBackOff")], at(30));
        let many = [("kperf-worker", 9)];
        assert!(troubles.hopeless(&many, at(40), patience).is_some());
        // One network is enough.
        let one = ["kperf-worker-0", "kperf-worker-1"].map(|pod| of(pod, "ErrImagePull"));
        troubles.look(one.to_vec(), at(50));
        let both = [("kperf-worker", 2), ("kperf-host-worker", 2)];
        assert_eq!(troubles.hopeless(&both, at(60), patience), None);
        assert!(troubles.hopeless(&both[..1], at(60), patience).is_some());
    }
}
