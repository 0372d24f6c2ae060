use crate::{million, per_op, Values};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::mpsc::{unbounded_channel, UnboundedSender};

/// To the back of the run queue. tokio's own yield_now looks at the driver before it goes on, each
/// time, and takes nearly three times as long.
struct Yield(bool);

impl Future for Yield {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

pub async fn yield_now() -> Values {
    const N: usize = 1_000_000;
    async fn repeat() {
        for _ in 0..N {
            Yield(false).await;
        }
    }
    let work = async {
        let (a, b) = (tokio::spawn(repeat()), tokio::spawn(repeat()));
        a.await.unwrap();
        b.await.unwrap();
    };
    vec![per_op(2.0 * N as f64, work).await]
}

pub async fn spawn_join() -> Values {
    const N: usize = 500_000;
    let work = async {
        for _ in 0..N {
            tokio::spawn(async {}).await.unwrap();
        }
    };
    vec![per_op(N as f64, work).await]
}

/// A 10-ary tree of spawns; the sum of the leaves' numbers comes up through channels.
fn spawn_skynet(up: UnboundedSender<i64>, number: i64, size: i64) {
    tokio::spawn(async move {
        if size == 1 {
            up.send(number).unwrap();
            return;
        }
        let (tx, mut rx) = unbounded_channel();
        for i in 0..10 {
            spawn_skynet(tx.clone(), number + i * (size / 10), size / 10);
        }
        let mut sum = 0;
        for _ in 0..10 {
            sum += rx.recv().await.unwrap();
        }
        up.send(sum).unwrap();
    });
}

pub async fn skynet() -> Values {
    let mut leaves = 1;
    while leaves * 10 <= million() {
        leaves *= 10;
    }
    let work = async {
        let (tx, mut rx) = unbounded_channel();
        spawn_skynet(tx, 0, leaves);
        assert_eq!(rx.recv().await.unwrap(), leaves * (leaves - 1) / 2);
    };
    vec![per_op(1e6, work).await]
}

static LIMIT: i32 = 2_000_000;
const CHUNKS: i32 = 64;
const PRIMES: i32 = 148_933; // below LIMIT

#[inline(never)]
fn count_primes(from: i32, to: i32) -> i32 {
    let mut count = 0;
    for n in from.max(2)..to {
        let mut prime = true;
        let mut d = 2;
        while d * d <= n {
            if n % d == 0 {
                prime = false;
                break;
            }
            d += 1;
        }
        count += prime as i32;
    }
    count
}

/// LIMIT, unknown to the compiler.
fn limit() -> i32 {
    unsafe { std::ptr::read_volatile(&LIMIT) }
}

pub async fn primes_serial() -> Values {
    let work = async { assert_eq!(count_primes(0, limit()), PRIMES) };
    vec![per_op(1e6, work).await]
}

pub async fn primes() -> Values {
    let work = async {
        let step = limit() / CHUNKS;
        let (tx, mut rx) = unbounded_channel();
        for c in 0..CHUNKS {
            let tx = tx.clone();
            tokio::spawn(async move { tx.send(count_primes(c * step, (c + 1) * step)).unwrap() });
        }
        let mut sum = 0;
        for _ in 0..CHUNKS {
            sum += rx.recv().await.unwrap();
        }
        assert_eq!(sum, PRIMES);
    };
    vec![per_op(1e6, work).await]
}
