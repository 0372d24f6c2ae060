use crate::{million, per_op, Values};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::time::{sleep, Sleep};

const TIMERS: i64 = 500_000;

/// A Sleep is armed by its first poll.
struct Arm<'a>(Pin<&'a mut Sleep>);

impl Future for Arm<'_> {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        assert!(self.0.as_mut().poll(context).is_pending());
        Poll::Ready(())
    }
}

async fn arm_and_cancel(after: Duration) {
    let timer = sleep(after);
    tokio::pin!(timer);
    Arm(timer).await;
}

pub async fn timer() -> Values {
    let work = async {
        for _ in 0..TIMERS {
            arm_and_cancel(Duration::from_secs(10)).await;
        }
    };
    vec![per_op(TIMERS as f64, work).await]
}

/// Deadlines between one and two minutes, in no order.
fn far_off(i: i64) -> Duration {
    Duration::from_millis((60_000 + i * 7_919 % 60_000) as u64)
}

pub async fn timer_million() -> Values {
    let mut armed: Vec<_> = (0..million())
        .map(|i| Box::pin(sleep(far_off(i))))
        .collect();
    for timer in &mut armed {
        Arm(timer.as_mut()).await;
    }
    let work = async {
        for i in 0..TIMERS {
            arm_and_cancel(far_off(i)).await;
        }
    };
    vec![per_op(TIMERS as f64, work).await]
}

pub async fn ticker() -> Values {
    const TICKS: usize = 1_000;
    let mut late = Vec::with_capacity(TICKS);
    for _ in 0..TICKS {
        let due = Instant::now() + Duration::from_millis(1);
        sleep(Duration::from_millis(1)).await;
        late.push(due.elapsed().as_nanos() as f64 / 1e3);
    }
    late.sort_by(f64::total_cmp);
    vec![
        late[(TICKS - 1) * 500 / 1000],
        late[(TICKS - 1) * 990 / 1000],
    ]
}
