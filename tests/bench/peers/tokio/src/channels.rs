use crate::{per_op, Values};
use std::sync::Arc;
use tokio::sync::mpsc::{unbounded_channel, UnboundedReceiver, UnboundedSender};
use tokio::sync::Mutex;

/// Both tasks of a pingpong: receive, answer. The last message received.
async fn player(mut rx: UnboundedReceiver<i64>, tx: UnboundedSender<i64>, times: i64) -> i64 {
    let mut last = 0;
    for _ in 0..times {
        last = rx.recv().await.unwrap();
        let _ = tx.send(last + 1);
    }
    last
}

pub async fn pingpong() -> Values {
    const N: i64 = 300_000;
    let work = async {
        let (to_a, in_a) = unbounded_channel();
        let (to_b, in_b) = unbounded_channel();
        to_a.send(0).unwrap();
        let a = tokio::spawn(player(in_a, to_b, N));
        let b = tokio::spawn(player(in_b, to_a, N));
        assert_eq!(b.await.unwrap(), 2 * N - 1);
        assert_eq!(a.await.unwrap(), 2 * N - 2);
    };
    vec![per_op(2.0 * N as f64, work).await]
}

pub async fn ring() -> Values {
    const ACTORS: usize = 1_000;
    const ROUNDS: usize = 1_000;
    let (to, from): (Vec<_>, Vec<_>) = (0..ACTORS).map(|_| unbounded_channel::<i32>()).unzip();
    let mut all = Vec::new();
    for (i, mut rx) in from.into_iter().enumerate() {
        let tx = to[(i + 1) % ACTORS].clone();
        all.push(tokio::spawn(async move {
            for _ in 0..ROUNDS {
                let _ = tx.send(rx.recv().await.unwrap() + 1);
            }
        }));
    }
    tokio::task::yield_now().await;
    let work = async {
        to[0].send(0).unwrap();
        for actor in all {
            actor.await.unwrap();
        }
    };
    vec![per_op((ACTORS * ROUNDS) as f64, work).await]
}

pub async fn fan_in() -> Values {
    const PRODUCERS: i64 = 4;
    const EACH: i64 = 200_000;
    let work = async {
        let (tx, mut rx) = unbounded_channel();
        for _ in 0..PRODUCERS {
            let tx = tx.clone();
            tokio::spawn(async move {
                for i in 0..EACH {
                    tx.send(i).unwrap();
                }
            });
        }
        let mut sum = 0;
        for _ in 0..PRODUCERS * EACH {
            sum += rx.recv().await.unwrap();
        }
        assert_eq!(sum, PRODUCERS * EACH * (EACH - 1) / 2);
    };
    vec![per_op((PRODUCERS * EACH) as f64, work).await]
}

pub async fn mutex() -> Values {
    const ACTORS: usize = 8;
    const EACH: usize = 200_000;
    let count = Arc::new(Mutex::new(0));
    let work = async {
        let mut all = Vec::new();
        for _ in 0..ACTORS {
            let count = count.clone();
            all.push(tokio::spawn(async move {
                for _ in 0..EACH {
                    *count.lock().await += 1;
                }
            }));
        }
        for actor in all {
            actor.await.unwrap();
        }
    };
    let ns = per_op((ACTORS * EACH) as f64, work).await;
    assert_eq!(*count.lock().await, ACTORS * EACH);
    vec![ns]
}

/// A task sends into one of four channels in turn and waits for the answer of the one that selects
/// over them.
pub async fn select() -> Values {
    const N: usize = 200_000;
    let work = async {
        let (to, from): (Vec<_>, Vec<_>) = (0..4).map(|_| unbounded_channel::<usize>()).unzip();
        let (answer, mut answers) = unbounded_channel();
        let selector = tokio::spawn(async move {
            let mut from = from.into_iter();
            let mut next = || from.next().unwrap();
            let (mut r0, mut r1, mut r2, mut r3) = (next(), next(), next(), next());
            for _ in 0..N {
                let v = tokio::select! {
                    v = r0.recv() => v,
                    v = r1.recv() => v,
                    v = r2.recv() => v,
                    v = r3.recv() => v,
                };
                answer.send(v.unwrap()).unwrap();
            }
        });
        let asker = tokio::spawn(async move {
            for i in 0..N {
                to[i % 4].send(i).unwrap();
                assert_eq!(answers.recv().await.unwrap(), i);
            }
        });
        asker.await.unwrap();
        selector.await.unwrap();
    };
    vec![per_op(N as f64, work).await]
}
