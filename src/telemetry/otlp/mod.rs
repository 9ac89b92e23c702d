//! Traces and figures on their way to a collector, over the house's own HTTP client.
//!
//! INVARIANT: nobody waits for a collector: what it does not take is thrown away and counted. What is sent leads to no span, no line and
//! no figure of the same kind, so that sending cannot feed itself. Off, unless the operator names a collector.

mod client;
mod instruments;
mod queue;
mod sending;
mod spans;

pub use client::Collector;
pub use spans::{Traced, TracedSpans};

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry_otlp::{MetricExporter, Protocol, RetryPolicy, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::trace::SpanExporter as _;
use tokio_util::sync::CancellationToken;

use crate::domain::{Fault, Measured, Meter};

use client::Client;
use instruments::Instruments;

/// How often figures are sent.
const EVERY: Duration = Duration::from_secs(30);

/// Sends, until it is ended.
pub struct Sending {
    figures: Instruments,
    provider: SdkMeterProvider,
    ending: CancellationToken,
    ended: CancellationToken,
}

impl Sending {
    /// Begins to send to `collector` what `traced` took in and what it is told. What is lost is told to `meter`.
    ///
    /// # Errors
    /// Where the sending parts cannot be made: a fault of ours.
    pub fn begin(traced: &Traced, collector: Collector, instance: &str, meter: Arc<dyn Meter>) -> Result<Self, Fault> {
        let resource = Resource::builder_empty()
            .with_attributes([
                KeyValue::new("service.name", "toolgate"),
                KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
                KeyValue::new("service.instance.id", instance.to_owned()),
            ])
            .build();
        let collector = Arc::new(collector);
        let (ending, ended) = (CancellationToken::new(), CancellationToken::new());
        let broken = |error: opentelemetry_otlp::ExporterBuildError| Fault::internal(format!("no exporter can be made: {error}"));
        let mut spans = SpanExporter::builder()
            .with_http()
            .with_http_client(Client::of(&collector, "traces", None))
            .with_endpoint(collector.place("v1/traces"))
            .with_protocol(Protocol::HttpBinary)
            .with_timeout(client::LONGEST)
            .with_retry_policy(RetryPolicy::disabled())
            .build()
            .map_err(broken)?;
        spans.set_resource(&resource);
        let figures = MetricExporter::builder()
            .with_http()
            .with_http_client(Client::of(&collector, "metrics", Some(meter.clone())))
            .with_endpoint(collector.place("v1/metrics"))
            .with_protocol(Protocol::HttpBinary)
            .with_timeout(client::LONGEST)
            .with_retry_policy(RetryPolicy::disabled())
            .build()
            .map_err(broken)?;
        let reader = PeriodicReader::builder(figures).with_interval(EVERY).build();
        let provider = SdkMeterProvider::builder().with_resource(resource).with_reader(reader).build();
        if let Some(queue) = traced.take_queue() {
            let sender = sending::Sender { queue, exporter: spans, meter, ending: ending.clone() };
            let over = ended.clone().drop_guard();
            collector.spawner.spawn(
                "traces",
                Box::pin(async move {
                    sender.run().await;
                    drop(over);
                }),
            );
        } else {
            // Another house of this process sends them.
            ended.cancel();
        }
        Ok(Self { figures: Instruments::of(&provider), provider, ending, ended })
    }

    /// Sends what is left, and gives up after `patience`.
    pub async fn end(&self, patience: Duration) {
        self.ending.cancel();
        let (provider, (told, figures_are_sent)) = (self.provider.clone(), tokio::sync::oneshot::channel::<()>());
        // The library waits on the thread it is on, so it gets one of its own, which holds up nobody's end.
        let last = std::thread::Builder::new().name("toolgate-last-figures".into()).spawn(move || {
            // What could not be sent is counted where it was tried.
            let _ = provider.shutdown();
            drop(told);
        });
        let both = async {
            self.ended.cancelled().await;
            if last.is_ok() {
                let _ = figures_are_sent.await;
            }
        };
        let _ = tokio::time::timeout(patience, both).await;
    }
}

impl Meter for Sending {
    fn tell(&self, what: Measured<'_>) {
        self.figures.tell(what);
    }
}
