//! A network of this test's own: namespaces on one bridge, each of which can be cut off, deafened or put on another side.
//!
//! Inputs: how many. Outputs: [`Namespace`]s to start programs in. The namespaces have no names and belong to nobody but this process and
//! those it starts in them: they are gone with these, also when this process is killed. It must never touch the machine's own network.

use std::fs::File;
use std::io::Write;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow, bail};
use nix::sched::{CloneFlags, unshare};

/// The side on which everything begins.
const BRIDGE: &str = "br0";
/// The other side of a split.
const OTHER: &str = "br1";

/// A network namespace.
#[derive(Debug)]
pub struct Namespace(OwnedFd);

impl Namespace {
    /// An empty one.
    fn new() -> Result<Self> {
        // On a thread of its own, which ends at once: the file keeps the namespace.
        let made = std::thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).context("a network namespace (needs root)")?;
            File::open("/proc/thread-self/ns/net").context("the namespace's file")
        });
        let file = made.join().map_err(|_| anyhow!("the thread that makes a namespace panicked"))??;
        Ok(Self(file.into()))
    }

    /// Where other programs find it, as long as this process lives.
    fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }

    /// `program`, to be run in it. It ends when the thread that starts it ends.
    pub fn command(&self, program: &std::path::Path) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path())).args(["--", "setpriv", "--pdeathsig", "KILL"]).arg(program);
        command
    }
}

/// A place on the network.
#[derive(Debug)]
pub struct Site {
    namespace: Namespace,
    /// Its only address.
    pub address: Ipv4Addr,
    port: String,
}

/// The network.
#[derive(Debug)]
pub struct Network {
    sites: Vec<Site>,
}

impl Network {
    /// Makes a bridge and so many sites on it. The calling thread, and every thread and program it starts from now on, is in the namespace
    /// of the bridge, from which all sites can be reached and nothing else.
    ///
    /// # Errors
    /// No right to (root is needed), or no `ip` or `nsenter`.
    pub fn new(count: usize) -> Result<Self> {
        unshare(CloneFlags::CLONE_NEWNET).context("a network namespace for the bridge (needs root)")?;
        let mut hub = vec![
            "link set lo up".to_owned(),
            format!("link add {BRIDGE} type bridge"),
            format!("link add {OTHER} type bridge"),
            format!("link set {BRIDGE} up"),
            format!("link set {OTHER} up"),
            format!("addr add 10.91.255.254/16 dev {BRIDGE}"),
        ];
        let mut sites = Vec::new();
        for number in 0..u16::try_from(count).context("so many sites")? {
            let namespace = Namespace::new()?;
            let (port, path) = (format!("v{number}"), namespace.path());
            hub.push(format!("link add {port} type veth peer name eth0 netns {path}"));
            hub.push(format!("link set {port} master {BRIDGE} up"));
            // From 10.91.1.1 on, 200 in each net of 256.
            let [third, fourth] =
                [1 + number / 200, 1 + number % 200].map(|byte| u8::try_from(byte).unwrap_or(u8::MAX));
            sites.push(Site { namespace, address: Ipv4Addr::new(10, 91, third, fourth), port });
        }
        batch(None, &hub)?;
        for site in &sites {
            let address = format!("addr add {}/16 dev eth0", site.address);
            batch(Some(site), &["link set lo up".to_owned(), address, "link set eth0 up".to_owned()])?;
        }
        Ok(Self { sites })
    }

    /// The namespace of a site.
    pub fn namespace(&self, site: usize) -> &Namespace {
        &self.sites[site].namespace
    }

    /// The address of a site.
    pub fn address(&self, site: usize) -> Ipv4Addr {
        self.sites[site].address
    }

    /// How many sites there are.
    pub fn count(&self) -> usize {
        self.sites.len()
    }

    /// From now on nothing comes from or to these sites; nobody is told.
    ///
    /// # Errors
    /// What `ip` said.
    pub fn cut(&self, sites: &[usize]) -> Result<()> {
        batch(None, &self.each(sites, |port| format!("link set {port} nomaster")))
    }

    /// These sites reach one another from now on, and nobody else.
    ///
    /// # Errors
    /// As for [`Self::cut`].
    pub fn split(&self, sites: &[usize]) -> Result<()> {
        batch(None, &self.each(sites, |port| format!("link set {port} master {OTHER}")))
    }

    /// Puts these sites where they were.
    ///
    /// # Errors
    /// As for [`Self::cut`].
    pub fn mend(&self, sites: &[usize]) -> Result<()> {
        batch(None, &self.each(sites, |port| format!("link set {port} master {BRIDGE}")))
    }

    /// What `from` sends to `to` is lost from now on, but not what `to` sends to `from`.
    ///
    /// # Errors
    /// As for [`Self::cut`].
    pub fn lose(&self, from: usize, to: &[usize]) -> Result<()> {
        let routes: Vec<String> =
            to.iter().map(|to| format!("route replace blackhole {}/32", self.sites[*to].address)).collect();
        batch(Some(&self.sites[from]), &routes)
    }

    /// The end of [`Self::lose`].
    ///
    /// # Errors
    /// As for [`Self::cut`].
    pub fn lose_no_more(&self, from: usize, to: &[usize]) -> Result<()> {
        let routes: Vec<String> =
            to.iter().map(|to| format!("route del blackhole {}/32", self.sites[*to].address)).collect();
        batch(Some(&self.sites[from]), &routes)
    }

    fn each(&self, sites: &[usize], line: impl Fn(&str) -> String) -> Vec<String> {
        sites.iter().map(|site| line(&self.sites[*site].port)).collect()
    }
}

/// Runs lines of `ip`, in a site or where the calling thread is.
fn batch(site: Option<&Site>, lines: &[String]) -> Result<()> {
    let ip = harness::program::find("ip").context("there is no `ip`: install iproute2")?;
    let mut command = match site {
        Some(site) => site.namespace.command(&ip),
        None => Command::new(ip),
    };
    let piped = command.args(["-batch", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().context("cannot start `ip`")?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all((lines.join("\n") + "\n").as_bytes()).context("cannot write to `ip`")?;
    }
    let output = child.wait_with_output().context("cannot wait for `ip`")?;
    if !output.status.success() {
        bail!("ip: {} of {lines:?}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
