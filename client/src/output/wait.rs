//! Something to look at while something takes its time.

use std::{
    env,
    io::{self, IsTerminal, Write},
    pin::pin,
    time::Duration,
};

use tokio::time::timeout;

use super::{Output, Volume};

/// What is done sooner needs no word.
const MOMENT: Duration = Duration::from_millis(500);

const FRAME: Duration = Duration::from_millis(100);

const FRAMES: [char; 10] = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];

impl Output {
    /// The work's result. Where standard error is a terminal, and the work takes longer than a moment, a line
    /// there says `what` is done and for how long, until it is done.
    pub(crate) async fn patiently<T>(&self, what: &str, work: impl Future<Output = T>) -> T {
        if !self.shows_waiting() {
            return work.await;
        }
        let mut work = pin!(work);
        if let Ok(done) = timeout(MOMENT, work.as_mut()).await {
            return done;
        }
        let mut waited = MOMENT;
        loop {
            let frame =
                FRAMES[usize::try_from(waited.as_millis() / FRAME.as_millis()).unwrap_or(0) % FRAMES.len()];
            show(&format!("\r{frame} {what}… {} s", waited.as_secs()));
            let done = timeout(FRAME, work.as_mut()).await;
            waited += FRAME;
            if let Ok(done) = done {
                show("\r\u{1b}[K");
                return done;
            }
        }
    }

    fn shows_waiting(&self) -> bool {
        let able = env::var_os("TERM").is_some_and(|terminal| terminal != "dumb");
        self.volume != Volume::Quiet && !self.is_json() && able && io::stderr().is_terminal()
    }
}

/// A line that cannot be shown is not missed.
fn show(text: &str) {
    let mut terminal = io::stderr().lock();
    drop(
        terminal
            .write_all(text.as_bytes())
            .and_then(|()| terminal.flush()),
    );
}
