//! A node: who it is, what it has, and the colony it belongs to.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use apiary_bucket::{Bucket, CellCache, layout};
use apiary_core::{Clock, Incarnation, NodeId, Rng, failpoint};
use apiary_swarm::{
    Board, ColonyFormat, ColonySecret, Heartbeat, NodeView, Strain,
    behaviour::temperature::{self, Regime},
    heartbeat,
};
use tokio_util::sync::CancellationToken;

use crate::{
    BeePool, Chambers, NodeError, NodeSettings, PeerChannel, Result, Role, cell_cache, identity::Identity,
    node_channel, pulse::Pulse,
};

/// A member of a colony. Roles share one in an `Arc`.
#[derive(Debug)]
pub struct Node {
    /// Its id, the same over restarts.
    pub id: NodeId,
    /// Its life, new each start.
    pub incarnation: Incarnation,
    /// The colony's bucket.
    pub bucket: Bucket,
    /// The task board in it.
    pub board: Board,
    /// What it was told.
    pub settings: NodeSettings,
    /// What every node of the colony knows.
    pub secret: ColonySecret,
    /// The colony's id.
    pub cluster: String,
    /// Its cores.
    pub bees: BeePool,
    /// Their memory.
    pub chambers: Chambers,
    /// The cells it holds; `bucket` reads through it.
    pub cells: Option<Arc<CellCache>>,
    pub(crate) pulse: Pulse,
    is_visitor: bool,
    address: Mutex<Option<(Role, String)>>,
    _identity: Identity,
}

/// How a node comes to a bucket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Stay {
    /// As a member; where there is no colony it founds one.
    #[default]
    Found,
    /// As a member of a colony that is there.
    Join,
    /// To look: it writes nothing, beats no heart, and nobody knows that it is there. It answers what takes no write.
    Visit,
}

/// Buckets that this process has probed: once is enough, every role of an all-in-one node asks.
static PROBED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Folders that are looked into for what a colony left behind, where there is no colony: somebody else's may be many.
const HIVES_MAX: usize = 16;
const BOXES_MAX: usize = 4;

/// Tests a shared bucket's promises before anything is trusted to it: once per process.
async fn probe_once(bucket: &Bucket) -> Result<()> {
    let known = || PROBED.lock().unwrap_or_else(PoisonError::into_inner);
    if !bucket.is_shared() || known().contains(bucket.uri()) {
        return Ok(());
    }
    let report = bucket.probe().await?;
    tracing::debug!(store = report.store, checks = report.checks.len(), "the store keeps its promises");
    known().insert(bucket.uri().to_owned());
    Ok(())
}

/// What makes a colony of a bucket: read, and made only by who may.
async fn colony(bucket: &Bucket, stay: Stay) -> Result<(ColonyFormat, ColonySecret)> {
    let known = ColonyFormat::look(bucket).await?;
    if known.is_none() {
        if let Some(object) = left_of_one(bucket).await? {
            return Err(NodeError::FormatLost { key: layout::format().to_string(), object });
        }
        if stay != Stay::Found {
            return Err(bucket.no_colony().into());
        }
    }
    if stay == Stay::Visit
        && let Some(format) = known
    {
        // Who has no secret, or a broken one, can prove nothing to other nodes, and asks none.
        let secret = ColonySecret::look(bucket).await.ok().flatten();
        return Ok((format, secret.unwrap_or_else(|| ColonySecret::random(bucket))));
    }
    probe_once(bucket).await?;
    Ok((ColonyFormat::load_or_create(bucket).await?, ColonySecret::load_or_create(bucket).await?))
}

/// Something that only a colony writes, each later than its format: without that it is not known what may be touched.
async fn left_of_one(bucket: &Bucket) -> Result<Option<String>> {
    if let Some(entry) = bucket.list(layout::registry_prefix(), None, 1).await?.into_iter().next() {
        return Ok(Some(entry.key));
    }
    for hive in bucket.folders("").await?.into_iter().filter(|top| !layout::is_own_folder(top)).take(HIVES_MAX) {
        for in_hive in bucket.folders(&hive).await?.into_iter().take(BOXES_MAX) {
            let folders = bucket.folders(&format!("{hive}/{in_hive}")).await?;
            let mut frames = folders.into_iter().map(|frame| format!("{hive}/{in_hive}/{frame}"));
            let Some(frame) = frames.find(|folder| layout::parse_frame_folder(folder).is_some()) else { continue };
            let first = bucket.list(&layout::ledger_prefix(&frame), None, 1).await?.into_iter().next();
            if first.is_some_and(|first| layout::parse_ledger_object(&frame, &first.key).is_some()) {
                return Ok(Some(frame));
            }
        }
    }
    Ok(None)
}

impl Node {
    /// Joins the colony of `bucket`, founding it if there is none. Fails within seconds and with a reason if the
    /// bucket cannot be reached, does not keep its promises, or is of another format; or if another process has
    /// the data folder. 1 LIST and 3 GETs, and once per process the probe of a shared bucket (some 40 requests).
    pub async fn join(bucket: Bucket, settings: NodeSettings) -> Result<Arc<Self>> {
        Self::enter(bucket, settings, Stay::Found).await
    }

    /// The same with another `stay`: where there has to be a colony and is none, that is an error that says so, and
    /// nothing is written. A visitor costs 1 LIST and 2 GETs.
    pub async fn enter(bucket: Bucket, settings: NodeSettings, stay: Stay) -> Result<Arc<Self>> {
        failpoint::check().map_err(|why| NodeError::setting(failpoint::VARIABLE, why))?;
        let (clock, rng) = (Arc::clone(bucket.clock()), Arc::clone(bucket.rng()));
        let identity = Identity::take(&settings, rng.as_ref())?;
        bucket.contact().await?;
        let (format, secret) = colony(&bucket, stay).await?;
        let id = identity.node.clone();
        let past = if identity.is_new { None } else { heartbeat::read(&bucket, &id).await.ok().flatten() };
        let cells = cell_cache::open(&settings, &bucket, &format.cluster).await;
        let bucket = cells.iter().fold(bucket, |bucket, cells| bucket.with_cache(Arc::clone(cells)));
        let chambers = Chambers::new(settings.chamber_bytes(), settings.cores, identity.scratch.clone());
        let node = Arc::new(Self {
            incarnation: Incarnation::new(clock.as_ref(), rng.as_ref()),
            board: Board::new(bucket.clone()),
            bees: BeePool::new(settings.cores)?,
            chambers,
            cells,
            pulse: Pulse::new(past.map(|beat| (beat.incarnation, beat.counter))),
            address: Mutex::default(),
            cluster: format.cluster,
            id,
            bucket,
            settings,
            secret,
            is_visitor: stay == Stay::Visit,
            _identity: identity,
        });
        tracing::info!(node = %node.id, cluster = node.cluster, storage = node.bucket.uri(), "joined");
        Ok(node)
    }

    /// Whether it only looks, and must write nothing.
    #[must_use]
    pub fn is_visitor(&self) -> bool {
        self.is_visitor
    }

    /// The clock of everything on this node.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        self.bucket.clock()
    }

    /// The chance of everything on this node.
    #[must_use]
    pub fn rng(&self) -> &Arc<dyn Rng> {
        self.bucket.rng()
    }

    /// Says that a role serves on `local`: the heartbeat tells others. A coordinator's address goes over another
    /// role's, since coordinators are what others look for.
    pub fn serves(&self, role: Role, local: SocketAddr) -> Result<()> {
        let reached_at = self.settings.reached_at(local)?;
        let mut address = self.address.lock().unwrap_or_else(PoisonError::into_inner);
        if address.as_ref().is_none_or(|(known, _)| role <= *known) {
            *address = Some((role, reached_at));
        }
        drop(address);
        self.hurry();
        Ok(())
    }

    /// Where others reach it, if anywhere.
    #[must_use]
    pub fn address(&self) -> Option<String> {
        let address = self.address.lock().unwrap_or_else(PoisonError::into_inner);
        address.as_ref().map(|(_, address)| address.clone())
    }

    /// How hard it works now.
    #[must_use]
    pub fn strain(&self) -> Strain {
        Strain {
            bees: self.bees.busy() as f64 / self.bees.total() as f64,
            memory: self.chambers.used_share(),
            queue: u32::try_from(self.bees.queue()).unwrap_or(u32::MAX),
        }
    }

    /// Its own temperature now, 0 to 1.
    #[must_use]
    pub fn temperature(&self) -> f64 {
        temperature::node(&self.strain(), u32::try_from(self.bees.total()).unwrap_or(u32::MAX))
    }

    /// The colony's temperature as last seen, and its regime, which cools with hysteresis.
    #[must_use]
    pub fn colony_temperature(&self) -> (f64, Regime) {
        self.pulse.temperature()
    }

    /// What it would say of itself now.
    pub(crate) fn heartbeat(&self, counter: u64, interval_s: f64, leaving: bool) -> Heartbeat {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Heartbeat {
            format: Heartbeat::FORMAT,
            node: self.id.clone(),
            incarnation: self.incarnation,
            counter,
            interval_s,
            roles: self.settings.roles.iter().map(|role| role.as_str().to_owned()).collect(),
            address: self.address(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            features: Vec::new(),
            cores: count(self.settings.cores),
            memory_bytes: self.settings.memory_bytes,
            bees: heartbeat::Bees { total: count(self.bees.total()), busy: count(self.bees.busy()) },
            chamber_bytes: self.chambers.bytes(),
            strain: self.strain(),
            temperature: self.temperature(),
            leaving,
            cached: self.cells.as_ref().map_or_else(String::new, |cells| cells.digest().to_text()),
        }
    }

    /// Begins to beat and to observe, once; a second call does nothing, so that every role may ask. When `shutdown`
    /// is cancelled the heartbeat says leaving until [`Node::leave`]. A twin (another process under this id)
    /// cancels `shutdown`; [`Node::failure`] then says so. A visitor has no pulse.
    pub fn start_pulse(self: &Arc<Self>, shutdown: CancellationToken) {
        if !self.is_visitor {
            self.pulse.start(self, shutdown);
        }
    }

    /// The colony as last seen; nothing before the first look.
    #[must_use]
    pub fn world(&self) -> Vec<NodeView> {
        self.pulse.world()
    }

    /// Looks at the colony now. 1 LIST and 1 GET per node.
    pub async fn look(&self) -> Result<Vec<NodeView>> {
        self.pulse.look(self).await
    }

    /// The colony as seen not longer ago than `age`, as far as the store lets itself be asked. At most 1 LIST and 1 GET
    /// per node.
    pub async fn world_within(&self, age: Duration) -> Vec<NodeView> {
        let is_young = |at| self.clock().monotonic().saturating_sub(at) <= age;
        if !self.pulse.looked_at().is_some_and(is_young)
            && let Err(error) = self.look().await
        {
            tracing::warn!(%error, "cannot look at the colony");
        }
        self.world()
    }

    /// Says that a query is open: the pulse quickens at once instead of at its next look. Call it whenever a query
    /// is opened or found; it costs nothing while the pulse is quick.
    pub fn hurry(&self) {
        self.pulse.hurry(self.clock().monotonic());
    }

    /// Why the node had to stop by itself, if it had to.
    #[must_use]
    pub fn failure(&self) -> Option<NodeError> {
        self.pulse.has_twin().then(|| NodeError::Twin { node: self.id.to_string() })
    }

    /// Ends the pulse and takes the heartbeat away: the last act of an orderly stop. 1 DELETE.
    pub async fn leave(&self) {
        self.pulse.leave().await;
    }

    /// Ends the pulse as a crash would: the heartbeat stays and grows old. For demonstrations and tests.
    pub fn vanish(&self) {
        self.pulse.abort();
    }

    /// A channel to another node, on which this one proves that it belongs to the colony. Connects when first used.
    pub fn channel_to(&self, address: &str) -> Result<PeerChannel> {
        node_channel(address, &self.id, &self.secret, self.rng())
    }
}

#[cfg(test)]
mod tests;
