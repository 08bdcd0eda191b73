# Words that have their place, and no other. Prints file:line, what stands there and why it must not. Used with
# rust.awk.

FNR == 1 {
    rust = FILENAME ~ /\.rs$/
    suite = FILENAME ~ /^tests\/(suites|foreign|demo)\// || FILENAME ~ /^(agent|client|proto)\/tests\// || FILENAME ~ /^\.ci\//
    paused = 0
    custody = FILENAME ~ /^agent\/(.*\/)?(custody\/|allocator\.rs$)/
}

# A comment may speak of anything.
{ code = $0 }
rust { sub(/(^|[[:space:]])\/\/.*/, "", code) }
!rust { sub(/(^|[[:space:]])(#|\/\/).*/, "", code) }

{ tests = rust && of_test($0) }

# The one place that is reviewed for memory safety.
rust && !custody && word(code, "unsafe") {
    fail("unsafe code stands in agent/src/custody and the allocator only")
}

# A test that sleeps is slow on a fast machine and fails on a slow one: wait for a signal. On tokio's paused clock
# a sleep takes no time, it turns the clock.
rust && /^ *#\[(tokio::)?test/ { paused = /start_paused/ }
(suite || tests) && rust && !paused && code ~ /(^|[^a-z_])sleep(_until|_ms)?\(|(thread|time)::sleep/ {
    fail("a test waits for a signal, it does not sleep")
}
suite && !rust && code ~ /time\.sleep|asyncio\.sleep|setTimeout|timers\/promises|(^|[;&|({]|do|then) *sleep [0-9]/ {
    fail("a test waits for a signal, it does not sleep")
}

END { exit failed }

function word(text, wanted) { return text ~ ("(^|[^A-Za-z0-9_])" wanted "([^A-Za-z0-9_]|$)") }
function fail(why) { printf "%s:%d: %s\n    %s\n", FILENAME, FNR, why, $0; failed = 1 }
