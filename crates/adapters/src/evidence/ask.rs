//! Asks many members, a few at a time.

use futures_util::StreamExt;

use super::{AskedKey, Question, Testimony, Witness};
use crate::Timestamp;
use crate::fleets::Member;

/// Asks every member, at most `limit` at the same time; the answers are in the members' order.
///
/// Each member is asked with the time at which its own turn comes, since a session that was minted for the beginning of a
/// long sweep would be over at its end.
pub async fn ask_all(
    members: &[Member],
    witness: &dyn Witness,
    question: &Question<'_>,
    limit: usize,
) -> Vec<Testimony> {
    let began = tokio::time::Instant::now();
    let asks: Vec<_> = members
        .iter()
        .map(|member| async move {
            let elapsed = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
            let turn = Question {
                keys: again(&question.keys),
                open_only: again(&question.open_only),
                decoy: question.decoy,
                captured: question.captured.clone(),
                now: Timestamp(question.now.0.saturating_add(elapsed)),
            };
            witness.ask(member, &turn).await
        })
        .collect();
    futures_util::stream::iter(asks).buffered(limit.max(1)).collect().await
}

fn again<'a>(keys: &[AskedKey<'a>]) -> Vec<AskedKey<'a>> {
    keys.iter().map(|asked| AskedKey { key: asked.key, fingerprint: asked.fingerprint }).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use async_trait::async_trait;

    use super::*;
    use crate::evidence::testing::{NOW, about, key};
    use crate::evidence::{Level, WitnessDescription};
    use crate::fleets::{BootId, MemberId, MemberState};

    /// Takes a second of virtual time for each member, and notes who was asked and for what time.
    #[derive(Default)]
    struct Slow {
        asked: Mutex<Vec<(String, Timestamp)>>,
    }

    #[async_trait]
    impl Witness for Slow {
        fn describe(&self) -> WitnessDescription {
            WitnessDescription { kind: "slow", level: Level::P2, tells_accepts: true, tells_mints: false }
        }

        async fn ask(&self, member: &Member, question: &Question<'_>) -> Testimony {
            self.asked.lock().unwrap().push((member.id.0.clone(), question.now));
            tokio::time::sleep(Duration::from_secs(1)).await;
            Testimony { workers: vec![(member.id.0.clone(), 1)], ..Testimony::default() }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_few_at_a_time_each_with_its_own_time_and_in_the_order_of_members() {
        let members: Vec<Member> = (0..10)
            .map(|number| Member {
                id: MemberId(format!("m{number}")),
                boot: BootId("1".into()),
                address: None,
                state: MemberState::Ready,
                started_at: None,
                workers: Vec::new(),
            })
            .collect();
        let (one, decoy) = (key(1), key(9));
        let slow = Slow::default();
        let began = tokio::time::Instant::now();
        let testimonies = ask_all(&members, &slow, &about(&[&one], &decoy), 4).await;
        assert_eq!(began.elapsed().as_secs(), 3, "ten members, four at a time");
        let order: Vec<&str> = testimonies.iter().map(|testimony| testimony.workers[0].0.as_str()).collect();
        assert_eq!(order, ["m0", "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "m9"]);
        let last = slow.asked.lock().unwrap().last().cloned().unwrap();
        assert_eq!(last, ("m9".to_owned(), Timestamp(NOW.0 + 2000)), "the last one is asked two seconds later");
    }
}
