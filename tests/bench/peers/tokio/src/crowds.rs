use crate::{million, per_op, Values};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::unbounded_channel;
use tokio::sync::Notify;

/// The last of n tasks to say so wakes the one that waits for them.
struct Countdown {
    left: AtomicI64,
    zero: Notify,
}

impl Countdown {
    fn new(n: i64) -> Arc<Self> {
        Arc::new(Countdown {
            left: AtomicI64::new(n),
            zero: Notify::new(),
        })
    }
    fn done(&self) {
        if self.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.zero.notify_one();
        }
    }
}

/// The number in the first line of a file of /proc that begins with `key`.
fn number(path: &str, key: &str) -> i64 {
    let text = std::fs::read_to_string(path).expect(path);
    let line = text.lines().find(|line| line.starts_with(key)).expect(key);
    line.split_whitespace().nth(1).unwrap().parse().expect(key)
}

fn resident_bytes() -> i64 {
    1024 * (number("/proc/self/status", "VmRSS:") + number("/proc/self/status", "VmPTE:"))
}

pub async fn million_parked() -> Values {
    let n = million();
    let mut to = Vec::with_capacity(n as usize);
    let mut all = Vec::with_capacity(n as usize);
    let parked = Countdown::new(n);
    let before = resident_bytes();
    let work = async {
        for _ in 0..n {
            let (tx, mut rx) = unbounded_channel::<i32>();
            to.push(tx);
            let parked = parked.clone();
            all.push(tokio::spawn(async move {
                parked.done();
                rx.recv().await
            }));
        }
        parked.zero.notified().await;
    };
    let spawn = per_op(n as f64, work).await;
    let bytes = (resident_bytes() - before) as f64 / n as f64;
    let work = async {
        for tx in &to {
            tx.send(1).unwrap();
        }
        for actor in all {
            actor.await.unwrap();
        }
    };
    let wake = per_op(n as f64, work).await;
    vec![spawn, bytes, wake]
}

/// CPU time of the process so far, in clock ticks of 10 ms.
fn cpu_ms() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").expect("/proc/self/stat");
    let fields: Vec<&str> = text
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    ticks * 10.0
}

pub async fn sleepers() -> Values {
    let n = million();
    let cpu = cpu_ms();
    let asleep = Countdown::new(n);
    let work = async {
        for i in 0..n {
            let asleep = asleep.clone();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_micros((i * 7_919 % 1_000_001) as u64)).await;
                asleep.done();
            });
        }
        asleep.zero.notified().await;
    };
    let ms = per_op(1e6, work).await;
    vec![ms - 1_000.0, cpu_ms() - cpu]
}
