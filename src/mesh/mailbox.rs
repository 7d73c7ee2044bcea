//! A bounded channel with a doorbell that is rung only when the receiver may be asleep.
//!
//! A receiver that sleeps in the kernel cannot be woken by a channel alone, and a system call for each
//! message would cost more than the message. So the receiver says that it is about to sleep, and looks
//! once more; the sender posts, and then looks whether the receiver said so. Both do their two steps in
//! the one order that all threads agree on (`SeqCst`), so at least one sees the other: either the
//! receiver finds the message, or the sender rings. Used by `shard` and `control`; knows no message.

use crossbeam::channel::{self, TrySendError};
use nix::errno::Errno;
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};

/// What both ends share besides the channel.
struct Bell {
    /// Set by the receiver before it sleeps; cleared by whoever rings, so one sleep is rung for once.
    asleep: AtomicBool,
    event: EventFd,
}

impl Bell {
    fn ring(&self) {
        // It fails only when the counter is full (EAGAIN), and then it has been rung already.
        let _ = self.event.write(1);
    }
}

/// The sending end: clone it for every thread that sends.
pub struct Sender<T> {
    channel: channel::Sender<T>,
    bell: Arc<Bell>,
}

/// The receiving end, of which there is one.
pub struct Receiver<T> {
    channel: channel::Receiver<T>,
    bell: Arc<Bell>,
}

/// Why a message was not taken; it comes back.
#[derive(thiserror::Error)]
pub enum Refused<T> {
    /// The receiver is behind by the mailbox's whole capacity: send again later, or let it be.
    #[error("the mailbox is full")]
    Full(T),
    /// The receiver is gone and no message will be taken any more.
    #[error("the mailbox is closed")]
    Closed(T),
}

impl<T> std::fmt::Debug for Refused<T> {
    /// Without the message, which need not be printable.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "Full",
            Self::Closed(_) => "Closed",
        })
    }
}

/// A mailbox for `capacity` messages.
///
/// # Errors
/// When the process may have no more descriptors (EMFILE, ENFILE): the doorbell takes one.
pub fn mailbox<T>(capacity: usize) -> io::Result<(Sender<T>, Receiver<T>)> {
    let event = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?;
    let bell = Arc::new(Bell { asleep: AtomicBool::new(false), event });
    let (sender, receiver) = channel::bounded(capacity);
    Ok((Sender { channel: sender, bell: bell.clone() }, Receiver { channel: receiver, bell }))
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self { channel: self.channel.clone(), bell: self.bell.clone() }
    }
}

impl<T> Sender<T> {
    /// Posts a message, and rings if the receiver may be asleep. Never blocks.
    ///
    /// # Errors
    /// [`Refused`] gives the message back.
    pub fn send(&self, message: T) -> Result<(), Refused<T>> {
        self.channel.try_send(message).map_err(|refused| match refused {
            TrySendError::Full(message) => Refused::Full(message),
            TrySendError::Disconnected(message) => Refused::Closed(message),
        })?;
        fence(Ordering::SeqCst);
        // Looked at before it is swapped: while the receiver is awake, the line stays shared.
        if self.bell.asleep.load(Ordering::SeqCst) && self.bell.asleep.swap(false, Ordering::SeqCst) {
            self.bell.ring();
        }
        Ok(())
    }
}

impl<T> Receiver<T> {
    /// The next message, if one is there.
    pub fn try_recv(&self) -> Option<T> {
        self.channel.try_recv().ok()
    }

    /// The eventfd to sleep on: readable once rung, nonblocking, a counter of 8 bytes. It may be rung
    /// for messages that were found without it.
    pub fn doorbell(&self) -> BorrowedFd<'_> {
        self.bell.event.as_fd()
    }

    /// Announces sleep and looks again: `true`, and the next message rings; `false`, and a message is
    /// there or just coming, so the receiver must not sleep.
    pub fn may_sleep(&self) -> bool {
        self.bell.asleep.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        // A sender claims its place before it looks at the flag, and a claimed place is not empty.
        let empty = self.channel.is_empty();
        if !empty {
            self.awake();
        }
        empty
    }

    /// Takes the announcement back, whatever woke the receiver: from now on nobody rings.
    pub fn awake(&self) {
        self.bell.asleep.store(false, Ordering::SeqCst);
    }

    /// Empties the doorbell's counter, for a receiver that only waits for it to be readable. Returns how
    /// often it was rung since the last time.
    pub fn silence(&self) -> u64 {
        loop {
            match self.bell.event.read() {
                Ok(rings) => return rings,
                Err(Errno::EINTR) => {}
                // EAGAIN: it has not been rung. An eventfd of ours knows no other error.
                Err(_) => return 0,
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::sync::atomic::AtomicU64;
    use std::{hint, thread};

    /// Sleeps until the bell rings; `false` if it stays silent for `limit_ms`.
    fn sleep<T>(receiver: &Receiver<T>, limit_ms: u16) -> bool {
        let mut fds = [PollFd::new(receiver.doorbell(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::from(limit_ms)).unwrap() == 1
    }

    /// Receives until `received` says that it was the last, sleeping whenever nothing is there; returns
    /// how often sleep was announced, slept, and rung for.
    fn receive<T>(receiver: &Receiver<T>, mut received: impl FnMut(T) -> bool) -> (u64, u64, u64) {
        let (mut announced, mut slept, mut rings) = (0, 0, 0);
        loop {
            while let Some(message) = receiver.try_recv() {
                if received(message) {
                    return (announced, slept, rings);
                }
            }
            announced += 1;
            if receiver.may_sleep() {
                slept += 1;
                assert!(sleep(receiver, 10_000), "asleep for ten seconds: a wake was lost");
                receiver.awake();
                rings += receiver.silence();
            }
        }
    }

    #[test]
    fn a_million_messages_of_four_threads_arrive_in_order_each_and_none_sleeps_on() {
        const THREADS: u64 = 4;
        const EACH: u64 = 250_000;
        let (sender, receiver) = mailbox::<(u64, u64)>(64).unwrap();
        let senders: Vec<_> = (0..THREADS)
            .map(|thread| {
                let sender = sender.clone();
                thread::spawn(move || {
                    for n in 0..EACH {
                        let mut message = (thread, n);
                        while let Err(Refused::Full(back)) = sender.send(message) {
                            message = back;
                            thread::yield_now();
                        }
                        if n % 100 == 0 {
                            thread::yield_now(); // lets the receiver fall asleep now and then
                        }
                    }
                })
            })
            .collect();
        let mut next = [0; THREADS as usize];
        let (announced, slept, rings) = receive(&receiver, |(thread, n)| {
            assert_eq!(n, next[thread as usize]);
            next[thread as usize] += 1;
            next.iter().sum::<u64>() == THREADS * EACH
        });
        senders.into_iter().for_each(|thread| thread.join().unwrap());
        assert!(slept > 0, "the receiver never slept: nothing was tested");
        assert!(rings <= announced, "{rings} rings for {announced} announcements of sleep");
    }

    /// In step: no later message can heal a wake that was lost. The pauses move the message over the
    /// whole of the receiver's way to sleep.
    #[test]
    fn no_wake_is_lost_when_each_message_waits_for_the_one_before() {
        const MESSAGES: u64 = 300_000;
        let (sender, receiver) = mailbox::<u64>(4).unwrap();
        let received = AtomicU64::new(0);
        thread::scope(|scope| {
            scope.spawn(|| {
                for n in 0..MESSAGES {
                    sender.send(n).unwrap();
                    let mut looks = 0;
                    while received.load(Ordering::Acquire) <= n && Arc::strong_count(&sender.bell) > 1 {
                        looks += 1;
                        // On one core the receiver only runs if this thread lets it.
                        if looks % 1_000 == 0 { thread::yield_now() } else { hint::spin_loop() }
                    }
                    (0..n % 64).for_each(|_| hint::spin_loop());
                }
            });
            let (_, slept, _) = receive(&receiver, |n| {
                received.store(n + 1, Ordering::Release);
                n + 1 == MESSAGES
            });
            assert!(slept > 0, "the receiver never slept: nothing was tested");
            drop(receiver);
        });
    }

    #[test]
    fn the_bell_rings_only_for_a_receiver_that_may_be_asleep_and_once() {
        let (sender, receiver) = mailbox(8).unwrap();
        sender.send(1).unwrap();
        assert_eq!(receiver.silence(), 0);
        assert!(!receiver.may_sleep(), "a message is there");
        sender.send(2).unwrap();
        assert_eq!(receiver.silence(), 0, "awake again, since it must not sleep");
        assert_eq!((receiver.try_recv(), receiver.try_recv(), receiver.try_recv()), (Some(1), Some(2), None));
        assert!(receiver.may_sleep());
        sender.send(3).unwrap();
        sender.send(4).unwrap();
        assert!(sleep(&receiver, 0));
        assert_eq!(receiver.silence(), 1);
        assert!(!sleep(&receiver, 0));
        receiver.awake();
        sender.send(5).unwrap();
        assert_eq!(receiver.silence(), 0);
    }

    #[test]
    fn a_message_that_is_not_taken_comes_back_with_the_reason() {
        let (sender, receiver) = mailbox(1).unwrap();
        sender.send("kept").unwrap();
        assert!(matches!(sender.send("back"), Err(Refused::Full("back"))));
        drop(receiver);
        assert!(matches!(sender.send("late"), Err(Refused::Closed("late"))));
    }
}
