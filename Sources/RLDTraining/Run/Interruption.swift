import Foundation
import Synchronization

/// Turns Ctrl-C (SIGINT) and SIGTERM into a flag that the trainer polls between two steps. A second signal kills as usual.
public enum Interruption {
    private static let flag = Atomic<Bool>(false)

    /// Whether a signal has come since `install`.
    public static var requested: Bool { flag.load(ordering: .relaxed) }

    /// Takes over the two signals. For programs; a library that is a guest in another program leaves signals alone.
    public static func install() {
        flag.store(false, ordering: .relaxed)
        // A parent that blocks signals hands that down; then nothing would ever arrive.
        var signals = sigset_t()
        sigemptyset(&signals)
        sigaddset(&signals, SIGINT)
        sigaddset(&signals, SIGTERM)
        pthread_sigmask(SIG_UNBLOCK, &signals, nil)
        // A file that may not grow further is an error of `write`, which has words for it.
        signal(SIGXFSZ, SIG_IGN)
        for number in [SIGINT, SIGTERM] {
            signal(number) { number in
                Interruption.flag.store(true, ordering: .relaxed)
                signal(number, SIG_DFL)
            }
        }
    }
}
