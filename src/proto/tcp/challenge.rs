//! Limits on challenge ACKs (RFC 5961 section 7).
//!
//! A per-connection allowance bounds what a blind attacker can make us send on one connection; the cap for
//! the whole stack is drawn at random every second, so that it can't be used as a side channel
//! (CVE-2016-5696).

use core::time::Duration;

use crate::proto::context::Context;
use crate::time::Instant;

/// One connection's allowance.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChallengeBudget {
    window_start: Instant,
    spent: u32,
}

impl ChallengeBudget {
    pub(crate) fn new(now: Instant) -> Self {
        ChallengeBudget { window_start: now, spent: 0 }
    }

    /// Whether one more may be sent now; spends it if so.
    //= RFC5961 7
    pub(crate) fn allows(&mut self, ctx: &mut Context, global: &mut GlobalChallengeLimit) -> bool {
        let allowed = self.has_some_left(ctx) && global.allows(ctx);
        if allowed {
            self.spent += 1;
            ctx.counters.tcp_challenge_acks += 1;
        } else {
            ctx.counters.tcp_challenge_acks_limited += 1;
        }
        allowed
    }

    /// Whether a bare segment outside the window may be answered now; spends from the same allowance if so.
    /// The cap for the whole stack does not hold here: peers' keep-alive and window probes look like that, and
    /// whoever uses the cap up must not be able to make them seem unanswered.
    pub(crate) fn allows_answer(&mut self, ctx: &Context) -> bool {
        let allowed = self.has_some_left(ctx);
        self.spent += u32::from(allowed);
        allowed
    }

    fn has_some_left(&mut self, ctx: &Context) -> bool {
        if ctx.now.since(self.window_start) >= ctx.config.challenge_ack_window {
            *self = ChallengeBudget::new(ctx.now);
        }
        //= RFC5961 7 tunable
        self.spent < ctx.config.challenge_acks
    }
}

/// The whole stack's cap.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GlobalChallengeLimit {
    /// When the current second began; `None` before the first challenge.
    second_start: Option<Instant>,
    left: u32,
}

impl GlobalChallengeLimit {
    pub(crate) fn new() -> Self {
        GlobalChallengeLimit { second_start: None, left: 0 }
    }

    /// Whether one more may be sent now; spends it if so. Phases without an allowance of their own ask here.
    pub(crate) fn allows(&mut self, ctx: &mut Context) -> bool {
        let second_is_over =
            self.second_start.is_none_or(|start| ctx.now.since(start) >= Duration::from_secs(1));
        if second_is_over {
            let cap = ctx.config.challenge_acks_global;
            self.second_start = Some(ctx.now);
            self.left = ctx.rng.within(cap / 2..=cap + cap / 2);
        }
        let allowed = self.left > 0;
        self.left = self.left.saturating_sub(1);
        allowed
    }
}
