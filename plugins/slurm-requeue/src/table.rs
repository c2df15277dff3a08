//! What Slurm's commands print.
//!
//! Inputs: their output. Outputs: jobs, a node. Pure. Must never take a user's text (a job's name, a comment) for a field: jobs are read
//! from columns of a fixed width, none of which a user can fill.

use cloudsnooze_plugin::serde_json::{Value, json};

/// The columns of `squeue -O`, with their widths.
const COLUMNS: [(&str, usize); 8] = [
    ("jobarrayid", 64),
    ("username", 64),
    ("state", 32),
    ("reason", 96),
    ("requeue", 12),
    ("restartcnt", 12),
    ("batchflag", 12),
    ("nodelist", 256),
];

/// One job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Job {
    /// `12`, or `12_3` for a task of an array.
    pub(crate) id: String,
    pub(crate) user: String,
    pub(crate) state: String,
    pub(crate) reason: String,
    pub(crate) can_requeue: bool,
    pub(crate) restarts: u32,
    pub(crate) is_batch: bool,
    pub(crate) nodes: String,
}

impl Job {
    /// What goes into the report.
    pub(crate) fn shown(&self) -> Value {
        json!({ "state": self.state, "reason": self.reason, "restarts": self.restarts, "nodes": self.nodes })
    }

    /// Why it cannot be requeued.
    pub(crate) fn obstacle(&self) -> Option<&'static str> {
        if !self.is_batch {
            Some("it is not a batch job, and only those can be requeued")
        } else if !self.can_requeue {
            Some("it was submitted with --no-requeue")
        } else {
            None
        }
    }
}

/// The argument of `squeue -O`.
pub(crate) fn columns() -> String {
    let columns: Vec<String> = COLUMNS.iter().map(|(name, width)| format!("{name}:{width}")).collect();
    columns.join(",")
}

/// The jobs of a table with these columns and without a heading.
pub(crate) fn jobs(text: &str) -> Vec<Job> {
    text.lines().filter_map(job).collect()
}

fn job(line: &str) -> Option<Job> {
    let characters: Vec<char> = line.chars().collect();
    let mut begin = 0;
    let mut fields = COLUMNS.iter().map(|(_, width)| {
        let field = characters.get(begin..characters.len().min(begin + width)).unwrap_or_default();
        begin += width;
        let field: String = field.iter().collect();
        field.trim().to_owned()
    });
    let mut next = || fields.next().unwrap_or_default();
    let job = Job {
        id: next(),
        user: next(),
        state: next(),
        reason: next(),
        can_requeue: next() == "1",
        restarts: next().parse().unwrap_or_default(),
        is_batch: next() == "1",
        nodes: next(),
    };
    // It goes into commands.
    let is_id = job.id.starts_with(|c: char| c.is_ascii_digit())
        && job.id.chars().all(|c| c.is_ascii_digit() || c == '_' || c == '+');
    is_id.then_some(job)
}

/// One node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Node {
    /// `IDLE`, `MIXED+DRAIN`, `DOWN*`.
    pub(crate) state: String,
    /// Why it is drained or down.
    pub(crate) reason: String,
}

impl Node {
    pub(crate) fn is_drained(&self) -> bool {
        self.state.split('+').any(|part| part.trim_end_matches(['*', '~', '#', '$', '@']) == "DRAIN")
    }

    pub(crate) fn shown(&self) -> Value {
        json!({ "state": self.state, "reason": self.reason })
    }
}

/// The line of `scontrol --oneliner show node`.
pub(crate) fn node(text: &str) -> Option<Node> {
    let line = text.lines().find(|line| line.starts_with("NodeName="))?;
    let value = |key: &str| line.find(key).and_then(|at| line.get(at + key.len()..));
    let state = value(" State=")?.split_whitespace().next()?.to_owned();
    // "[root@2026-01-02T03:04:05]" follows.
    let reason = value(" Reason=").map(|rest| rest.split(" [").next().unwrap_or_default().trim().to_owned());
    Some(Node { state, reason: reason.unwrap_or_default() })
}

/// The value of a line `Key = value` of `scontrol show config`.
pub(crate) fn setting<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once('=')?;
        (name.trim() == key).then(|| value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(fields: [&str; 8]) -> String {
        fields.iter().zip(COLUMNS).map(|(field, (_, width))| format!("{field:width$}")).collect()
    }

    #[test]
    fn jobs_are_read_by_their_columns() {
        let text = [
            line(["12", "ann", "RUNNING", "None", "1", "0", "1", "n1"]),
            line(["13_4", "bob", "PENDING", "BeginTime", "0", "2", "1", ""]),
            line(["14+1", "bob", "RUNNING", "None", "1", "0", "0", "n[1-2]"]),
            "slurm_load_jobs error: Invalid job id specified".to_owned(),
            String::new(),
        ]
        .join("\n");
        let jobs = jobs(&text);
        assert_eq!(jobs.iter().map(|job| job.id.as_str()).collect::<Vec<_>>(), ["12", "13_4", "14+1"]);
        assert_eq!(jobs[0].obstacle(), None);
        assert_eq!((jobs[1].reason.as_str(), jobs[1].restarts, jobs[1].nodes.as_str()), ("BeginTime", 2, ""));
        assert!(jobs[1].obstacle().unwrap().contains("--no-requeue"));
        assert!(jobs[2].obstacle().unwrap().contains("not a batch job"));
    }

    #[test]
    fn a_node_is_drained_by_its_flag_and_nothing_else() {
        let text = "NodeName=n1 Arch=x86_64 State=MIXED+DRAIN ThreadsPerCore=1 Reason=spot: it goes [root@2026-01-02T03:04:05]";
        let drained = node(text).unwrap();
        assert_eq!((drained.state.as_str(), drained.reason.as_str()), ("MIXED+DRAIN", "spot: it goes"));
        assert!(drained.is_drained());
        for (state, is_drained) in [("IDLE", false), ("DOWN*+DRAIN", true), ("IDLE+DRAIN*", true), ("DRAINING", false)]
        {
            let text = format!("NodeName=n1 State={state} X=1");
            assert_eq!(node(&text).unwrap().is_drained(), is_drained, "{state}");
        }
        assert_eq!(node("Node n9 not found"), None);
    }

    #[test]
    fn settings_are_found_by_their_whole_name() {
        let text = "SlurmUser               = slurm(64030)\nSlurmdUser              = root(0)\n";
        assert_eq!(setting(text, "SlurmUser"), Some("slurm(64030)"));
        assert_eq!(setting(text, "Slurm"), None);
    }
}
