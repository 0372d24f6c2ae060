//! The tokio side of ./dev bench --peers: tokio BENCH WORKERS RUNS prints one JSON line for each
//! figure of the benchmark. Exit code 3: there is no such benchmark here. tokio
//! serve_echo WORKERS PORT is a server for ./dev bench --wire. One worker is the
//! current_thread runtime, more are multi_thread; the work itself runs in a spawned task.

mod actors;
mod channels;
mod crowds;
mod servers;
mod timers;

use std::future::Future;
use std::pin::Pin;
use std::time::Instant;
use tokio::runtime::{Builder, Runtime};

/// What one measurement gives: a value for each figure.
pub type Values = Vec<f64>;
type Work = Pin<Box<dyn Future<Output = Values> + Send>>;

struct Benchmark {
    figures: &'static [(&'static str, &'static str)], // suffix, unit
    fresh: bool, // each measurement in a process of its own, without a warm-up
    run: fn() -> Work,
}

const NS: &[(&str, &str)] = &[("", "ns")];
const MS: &[(&str, &str)] = &[("", "ms")];

fn find(name: &str) -> Option<Benchmark> {
    let (figures, run): (_, fn() -> Work) = match name {
        "yield" => (NS, || Box::pin(actors::yield_now())),
        "spawn_join" => (NS, || Box::pin(actors::spawn_join())),
        "skynet" => (MS, || Box::pin(actors::skynet())),
        "primes_serial" => (MS, || Box::pin(actors::primes_serial())),
        "primes" => (MS, || Box::pin(actors::primes())),
        "pingpong" => (NS, || Box::pin(channels::pingpong())),
        "ring" => (NS, || Box::pin(channels::ring())),
        "fan_in" => (NS, || Box::pin(channels::fan_in())),
        "mutex" => (NS, || Box::pin(channels::mutex())),
        "select" => (NS, || Box::pin(channels::select())),
        "timer" => (NS, || Box::pin(timers::timer())),
        "timer_million" => (NS, || Box::pin(timers::timer_million())),
        "ticker" => (&[("_p50", "us"), ("_p99", "us")], || {
            Box::pin(timers::ticker())
        }),
        "million_parked" => (&[("", "ns"), ("_bytes", "B"), ("_wake", "ns")], || {
            Box::pin(crowds::million_parked())
        }),
        "sleepers" => (&[("_overshoot", "ms"), ("_cpu", "ms")], || {
            Box::pin(crowds::sleepers())
        }),
        _ => return None,
    };
    let fresh = matches!(name, "million_parked" | "sleepers");
    Some(Benchmark {
        figures,
        fresh,
        run,
    })
}

/// Nanoseconds of each of the `ops` operations that `work` does.
pub async fn per_op<F: Future<Output = ()>>(ops: f64, work: F) -> f64 {
    let begin = Instant::now();
    work.await;
    begin.elapsed().as_nanos() as f64 / ops
}

/// The number of actors, timers and leaves in the million rows.
pub fn million() -> i64 {
    let text = std::env::var("BENCH_MILLION").unwrap_or_default();
    match text.parse() {
        Ok(n) if n > 0 => n,
        _ => 1_000_000,
    }
}

fn runtime(workers: usize) -> Runtime {
    let mut builder = if workers <= 1 {
        Builder::new_current_thread()
    } else {
        Builder::new_multi_thread()
    };
    if workers > 1 {
        builder.worker_threads(workers);
    }
    builder.enable_all().build().expect("a runtime")
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if args.len() != 4 {
        eprintln!("usage: tokio BENCH WORKERS RUNS");
        std::process::exit(2);
    }
    let workers: usize = args[2].parse().expect("WORKERS");
    let runs: usize = args[3].parse().expect("RUNS");
    if args[1] == "serve_echo" {
        let port = args[3].parse().expect("PORT");
        runtime(workers).block_on(async { tokio::spawn(servers::serve_echo(port)).await.ok() });
        return;
    }
    let benchmark = find(&args[1]).unwrap_or_else(|| std::process::exit(3));
    let runtime = runtime(workers);
    let measure =
        || runtime.block_on(async { tokio::spawn((benchmark.run)()).await.expect("a panic") });
    if !benchmark.fresh {
        measure(); // warm-up
    }
    let mut values = vec![Vec::new(); benchmark.figures.len()];
    for _ in 0..runs {
        for (all, value) in values.iter_mut().zip(measure()) {
            all.push(value);
        }
    }
    for ((suffix, unit), mut all) in benchmark.figures.iter().zip(values) {
        all.sort_by(f64::total_cmp);
        println!(
            "{{\"bench\":\"{}{}\",\"workers\":{},\"value\":{:.3},\"unit\":\"{}\",\"min\":{:.3},\"max\":{:.3}}}",
            args[1], suffix, workers, all[all.len() / 2], unit, all[0], all[all.len() - 1]
        );
    }
}
