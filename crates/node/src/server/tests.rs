//! A server over the loopback and inside the process.

use apiary_core::{NodeId, SystemClock, SystemRng};
use apiary_proto::v1::{
    EndedRequest, EndedResponse, Nudge, NudgesRequest,
    task_service_client::TaskServiceClient,
    task_service_server::{TaskService, TaskServiceServer},
};
use futures::stream::BoxStream;
use tonic::{Code, Request, Response, Status, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use super::*;
use crate::PeerChannel;

/// Nudges once, naming its caller, then never again.
struct Tasks;

#[tonic::async_trait]
impl TaskService for Tasks {
    type NudgesStream = BoxStream<'static, Result<Nudge, Status>>;

    async fn nudges(&self, request: Request<NudgesRequest>) -> Result<Response<Self::NudgesStream>, Status> {
        let Peer(node) = request.extensions().get::<Peer>().cloned().ok_or_else(|| Status::internal("no peer"))?;
        let nudge = Nudge { query_id: node.to_string(), ..Nudge::default() };
        let once = futures::stream::once(async { Ok(nudge) });
        Ok(Response::new(once.chain(futures::stream::pending()).boxed()))
    }

    async fn ended(&self, _: Request<EndedRequest>) -> Result<Response<EndedResponse>, Status> {
        Err(Status::unimplemented("nobody says so here"))
    }
}

fn policy(insecure: bool) -> ServerPolicy {
    ServerPolicy {
        drain_max: Duration::from_millis(50),
        ..ServerPolicy::new(ColonySecret::of([7; 32]), insecure, Arc::new(SystemClock))
    }
}

fn start(listener: Listener, policy: ServerPolicy) -> (CancellationToken, tokio::task::JoinHandle<Result<()>>) {
    let stop = CancellationToken::new();
    let routes = Routes::new(TaskServiceServer::new(Tasks));
    (stop.clone(), tokio::spawn(serve(listener, routes, policy, stop)))
}

fn peer(channel: Channel, secret: [u8; 32]) -> TaskServiceClient<PeerChannel> {
    let rng: Arc<dyn apiary_core::Rng> = Arc::new(SystemRng);
    let me = NodeId::new("pi-1").unwrap();
    TaskServiceClient::new(PeerChannel::over(channel, &me, &ColonySecret::of(secret), &rng))
}

async fn connect(listener: &Listener) -> Channel {
    let address = listener.local_addr().unwrap();
    tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy()
}

#[tokio::test]
async fn a_node_of_the_colony_comes_in_and_is_known() {
    let listener = Listener::bind("127.0.0.1:0").await.unwrap();
    let channel = connect(&listener).await;
    let (stop, server) = start(listener, policy(false));
    let mut nudges = peer(channel, [7; 32]).nudges(NudgesRequest::default()).await.unwrap().into_inner();
    assert_eq!(nudges.message().await.unwrap().unwrap().query_id, "pi-1");
    stop.cancel();
    server.await.unwrap().unwrap();
}

#[tokio::test]
async fn strangers_and_impostors_stay_out_of_the_nodes_own_service() {
    let (listener, channel) = Listener::memory();
    let (_stop, _server) = start(listener, policy(false));
    let stranger = TaskServiceClient::new(channel.clone()).nudges(NudgesRequest::default()).await.unwrap_err();
    assert_eq!(stranger.code(), Code::Unauthenticated);
    let impostor = peer(channel, [8; 32]).nudges(NudgesRequest::default()).await.unwrap_err();
    assert_eq!(impostor.code(), Code::Unauthenticated);
}

#[tokio::test]
async fn anybody_may_ask_for_health() {
    let (listener, channel) = Listener::memory();
    let (_stop, _server) = start(listener, policy(false));
    let answer = HealthClient::new(channel).check(HealthCheckRequest::default()).await.unwrap();
    assert_eq!(answer.into_inner().status, 1);
}

#[tokio::test]
async fn a_public_address_is_refused_unless_the_operator_insists() {
    let listener = Listener::bind("0.0.0.0:0").await.unwrap();
    let (_stop, server) = start(listener, policy(false));
    let error = server.await.unwrap().unwrap_err();
    assert!(error.hint().unwrap().contains("--insecure"), "{error}");
    let listener = Listener::bind("0.0.0.0:0").await.unwrap();
    let (stop, server) = start(listener, policy(true));
    stop.cancel();
    server.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_full_server_refuses_with_the_time_to_come_back() {
    let (listener, channel) = Listener::memory();
    let (_stop, _server) = start(listener, ServerPolicy { calls_max: 1, ..policy(false) });
    let held = peer(channel.clone(), [7; 32]).nudges(NudgesRequest::default()).await.unwrap();
    let refused = peer(channel.clone(), [7; 32]).nudges(NudgesRequest::default()).await.unwrap_err();
    let error = apiary_proto::ClientError::from(refused);
    assert_eq!((error.kind, error.retry_after_ms), (apiary_core::ErrorKind::Overloaded, Some(1_000)));
    HealthClient::new(channel.clone()).check(HealthCheckRequest::default()).await.unwrap();
    drop(held);
    let mut again = peer(channel, [7; 32]);
    while again.nudges(NudgesRequest::default()).await.is_err() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_stream_ends_with_its_callers_patience() {
    let (listener, channel) = Listener::memory();
    let (_stop, _server) = start(listener, policy(false));
    let mut request = Request::new(NudgesRequest::default());
    request.set_timeout(Duration::from_millis(80));
    let mut nudges = peer(channel, [7; 32]).nudges(request).await.unwrap().into_inner();
    assert!(nudges.message().await.unwrap().is_some());
    let error = apiary_proto::ClientError::from(nudges.message().await.unwrap_err());
    assert_eq!(error.kind, apiary_core::ErrorKind::Timeout, "{error}");
}
