//! One account: the way to the task that owns it.
//!
//! The task owns the signer, the token and the exchange in flight. One owner means that concurrent callers share
//! one exchange, that a hung org delays nobody else, and that nothing is ever locked while Salesforce is asked.
//! When the registry lets go of the account, the task ends, the exchange is cancelled and the token wiped.

mod job;
mod life;
mod served;
mod settle;
mod task;
mod view;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use sfkey_proto::{AccountName, v1::Token};
use tokio::sync::{mpsc, oneshot, watch};
use zeroize::Zeroizing;

use crate::{
    agent::Agent,
    custody::{SealedSecret, Signer},
    error::Failure,
    identity::{Identity, Terms},
    salesforce::TokenHost,
    token::{Need, TokenHash},
};

pub use view::{HeldOff, View};

use self::task::{Order, Request, Task};

/// Requests that the task has not taken yet; senders wait beyond that, and the task never blocks.
const QUEUE: usize = 64;

/// What the registry keeps of an account: the way to its task. Dropping it ends the task.
pub struct Account {
    requests: mpsc::Sender<Request>,
    /// Unbounded, for the registry alone sends, and the task takes each at once.
    orders: mpsc::UnboundedSender<Order>,
    view: watch::Receiver<View>,
    terms: watch::Sender<Terms>,
    /// Counts the tokens and the ends that were learned; whoever watches has a receiver.
    changes: Arc<watch::Sender<u64>>,
}

/// A token that an account gave up, to be revoked.
pub struct Surrendered {
    /// The account that held it.
    pub account: AccountName,
    /// Where it was minted.
    pub host: TokenHost,
    /// The token.
    pub token: Zeroizing<String>,
}

/// A watcher's way to an account: it does not keep the account.
pub struct Watch {
    name: AccountName,
    requests: mpsc::WeakSender<Request>,
    changes: watch::Receiver<u64>,
}

impl Account {
    /// Starts the task of an account. `secret` is the consumer secret, for introspection.
    pub fn start(
        agent: &Arc<Agent>,
        name: AccountName,
        identity: Arc<Identity>,
        signer: Arc<dyn Signer>,
        terms: Terms,
        secret: Option<Arc<SealedSecret>>,
    ) -> Self {
        let (requests, queue) = mpsc::channel(QUEUE);
        let (orders, order_queue) = mpsc::unbounded_channel();
        let (view_writer, view) = watch::channel(View::default());
        let (terms, terms_reader) = watch::channel(terms);
        let changes = Arc::new(watch::Sender::new(0));
        let task = Task::new(
            Arc::clone(agent),
            task::Own {
                name,
                identity,
                signer,
                secret,
                terms: terms_reader,
            },
            view_writer,
            Arc::clone(&changes),
        );
        tokio::spawn(task.run(queue, order_queue));
        Self {
            requests,
            orders,
            view,
            terms,
            changes,
        }
    }

    /// What may be shown of it.
    #[must_use]
    pub fn view(&self) -> View {
        self.view.borrow().clone()
    }

    /// The times that it ends by.
    #[must_use]
    pub fn terms(&self) -> Terms {
        *self.terms.borrow()
    }

    /// The account was added once more: other times, perhaps another consumer secret, and what failed before
    /// counts no more.
    pub fn renew(&self, terms: Terms, secret: Option<Arc<SealedSecret>>) {
        self.terms.send_replace(terms);
        self.order(Order::Renew(secret));
    }

    /// Takes the token away, if one is held, so that it can be revoked; [`Account::revoked`] has to follow. While the
    /// agent is locked none is held. `ends`: the account is about to be removed, and nobody who waits is served.
    pub fn surrender(&self, ends: bool) -> impl Future<Output = Option<Surrendered>> + use<> {
        let (reply, answer) = oneshot::channel();
        self.order(Order::Surrender { ends, reply });
        async move { answer.await.ok().flatten() }
    }

    /// The token with this hash was revoked. Salesforce may have granted it once more meanwhile: it goes again.
    pub fn revoked(&self, hash: TokenHash) {
        self.order(Order::Revoked(hash));
    }

    /// A task that has ended holds nothing that an order could be about.
    fn order(&self, order: Order) {
        drop(self.orders.send(order));
    }

    /// Whether somebody waits for each new token.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        self.changes.receiver_count() > 0
    }

    /// Waits for each new token.
    #[must_use]
    pub fn watch(&self, name: AccountName) -> Watch {
        Watch {
            name,
            requests: self.requests.downgrade(),
            changes: self.changes.subscribe(),
        }
    }

    /// Asks the task for a token. The future holds no way to the task while it waits for the reply, so that
    /// an account that is removed meanwhile ends at once.
    pub fn token(
        &self,
        name: AccountName,
        need: Need,
    ) -> impl Future<Output = Result<Token, Failure>> + use<> {
        ask(self.requests.clone(), name, move |reply| Request::Token {
            need,
            reply,
        })
    }

    /// Tells the task that Salesforce refused the token with this hash, and asks for the next.
    pub fn rejected(
        &self,
        name: AccountName,
        hash: TokenHash,
    ) -> impl Future<Output = Result<Token, Failure>> + use<> {
        ask(self.requests.clone(), name, move |reply| Request::Rejected {
            hash,
            reply,
        })
    }
}

impl Watch {
    /// The token as it is now, got from Salesforce if there is none.
    ///
    /// # Errors
    /// [`Failure::NotLoaded`] when the account has gone, or whatever keeps Salesforce from granting a token.
    pub async fn token(&self, need: Need) -> Result<Token, Failure> {
        let requests = self.requests.upgrade();
        let requests = requests.ok_or_else(|| Failure::NotLoaded(self.name.clone()))?;
        ask(requests, self.name.clone(), move |reply| Request::Token {
            need,
            reply,
        })
        .await
    }

    /// Ends when there is something new; false when the account has gone.
    pub async fn changed(&mut self) -> bool {
        self.changes.changed().await.is_ok()
    }
}

async fn ask(
    requests: mpsc::Sender<Request>,
    name: AccountName,
    request: impl FnOnce(task::Reply) -> Request,
) -> Result<Token, Failure> {
    let (reply, answer) = oneshot::channel();
    let sent = requests.send(request(reply)).await;
    drop(requests);
    match sent {
        Ok(()) => answer.await.unwrap_or(Err(Failure::NotLoaded(name))),
        Err(_) => Err(Failure::NotLoaded(name)),
    }
}
