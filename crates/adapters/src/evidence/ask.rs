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
