//! The doorbell's two halves with one thing missing, which loom must notice.

use loom::sync::atomic::Ordering::{Relaxed, SeqCst};
use loom::sync::atomic::fence;
use ring_abi::map::Queue;
use ring_abi::ring::{Consumer, Corrupt, Doorbell, Producer};

pub(crate) fn publish_and_look_without_fence(producer: &Producer, queue: &Queue<'_, 2>) -> Doorbell {
    producer.publish(queue);
    if queue.sleeps().load(Relaxed) == 0 { Doorbell::Quiet } else { Doorbell::Ring }
}

pub(crate) fn try_sleep_without_fence(consumer: &Consumer, queue: &Queue<'_, 2>) -> Result<bool, Corrupt> {
    queue.sleeps().store(1, Relaxed);
    consumer.ready(queue).map(|ready| ready == 0)
}

pub(crate) fn try_sleep_without_second_look(
    consumer: &Consumer,
    queue: &Queue<'_, 2>,
) -> Result<bool, Corrupt> {
    let ready = consumer.ready(queue)?;
    queue.sleeps().store(1, Relaxed);
    fence(SeqCst);
    Ok(ready == 0)
}
