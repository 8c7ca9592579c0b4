import CCLBlast
import COpenCL
import Foundation
import OpenCLRuntime
import Synchronization

/// C = A B (+ C), row-major float32: A is [m, k] or, transposed, [k, m]; B is [k, n] or [n, k]; leading dimensions are the
/// stored rows' lengths.
package struct MatrixProduct {
    package var m: Int
    package var n: Int
    package var k: Int
    package var a: DeviceSlice
    package var transposeA = false
    package var b: DeviceSlice
    package var transposeB = false
    package var c: DeviceSlice
    /// Add to C instead of overwriting it.
    package var accumulate = false
    /// Elements from one stored row of A and of B to the next, of both the same; nil: rows follow each other.
    package var rowLength: Int?

    package init(
        m: Int, n: Int, k: Int, a: DeviceSlice, transposeA: Bool = false, b: DeviceSlice, transposeB: Bool = false,
        c: DeviceSlice, accumulate: Bool = false
    ) {
        (self.m, self.n, self.k) = (m, n, k)
        (self.a, self.transposeA, self.b, self.transposeB) = (a, transposeA, b, transposeB)
        (self.c, self.accumulate) = (c, accumulate)
    }
}

/// Matrix products through CLBlast, with parameters chosen for the device and a workspace of our own, so that a product
/// in steady state allocates nothing.
package final class MatrixProducts {
    private let context: Context
    private let queue: CommandQueue
    private var scratch: Buffer?

    init(context: Context, queue: CommandQueue, parameters: [String: [String: Int]]) throws(DeviceError) {
        self.context = context
        self.queue = queue
        try CLBlastParameters.use(parameters, on: context.device)
        Self.living.withLock { $0 += 1 }
    }

    deinit {
        // CLBlast keeps its programs in a cache of the process, for all of these: some drivers crash at exit if a program is left.
        Self.living.withLock {
            $0 -= 1
            if $0 == 0 { CLBlastClearCache() }
        }
    }

    private static let living = Mutex(0)

    /// Makes the workspace large enough for a product; call while planning, before the first step.
    /// - Returns: what the product needs, in bytes; 0 where CLBlast multiplies the matrices as they lie.
    @discardableResult
    package func reserve(_ p: MatrixProduct) throws(DeviceError) -> Int {
        let bytes = try workspace(p)
        if bytes > scratch?.bytes ?? 0 { scratch = try Buffer(context, bytes: bytes, label: "matrix product workspace") }
        return bytes
    }

    private func workspace(_ p: MatrixProduct) throws(DeviceError) -> Int {
        try checkAddresses(p)
        var bytes = 0
        var handle: cl_command_queue? = queue.handle
        let status = CLBlastSGemmTempBufferSize(
            CLBlastLayoutRowMajor, transpose(p.transposeA), transpose(p.transposeB), p.m, p.n, p.k, p.a.offset, lda(p),
            p.b.offset, ldb(p), p.c.offset, p.n, &handle, &bytes)
        try DeviceError.check(
            status.rawValue, .blasFailed, "matrix product [\(p.m), \(p.k)] x [\(p.k), \(p.n)] on \(context.device.name)")
        return bytes
    }

    /// CLBlast hands offsets to its kernels as 32-bit numbers, whatever they are.
    private func checkAddresses(_ p: MatrixProduct) throws(DeviceError) {
        let ends = [
            ("A", p.a.offset + (p.transposeA ? p.k : p.m) * lda(p)), ("B", p.b.offset + (p.transposeB ? p.n : p.k) * ldb(p)),
            ("C", p.c.offset + p.m * p.n),
        ]
        for (name, end) in ends where end > Int(Int32.max) {
            throw DeviceError(
                .unsupported,
                "matrix product [\(p.m), \(p.k)] x [\(p.k), \(p.n)] on \(context.device): \(name) ends at element \(end) of its "
                    + "buffer, and CLBlast counts to \(Int32.max); use a smaller batch")
        }
    }

    package func enqueue(_ p: MatrixProduct) throws(DeviceError) {
        try queue.enqueueExternal("sgemm \(p.m)x\(p.n)x\(p.k)", isOneLaunch: try workspace(p) == 0) { queue, event in
            CLBlastSgemmWithTempBuffer(
                CLBlastLayoutRowMajor, transpose(p.transposeA), transpose(p.transposeB), p.m, p.n, p.k, 1, p.a.buffer.handle,
                p.a.offset, lda(p), p.b.buffer.handle, p.b.offset, ldb(p), p.accumulate ? 1 : 0, p.c.buffer.handle, p.c.offset,
                p.n, queue, event, scratch?.handle
            ).rawValue
        }
    }

    private func transpose(_ yes: Bool) -> CLBlastTranspose { yes ? CLBlastTransposeYes : CLBlastTransposeNo }
    private func lda(_ p: MatrixProduct) -> Int { p.rowLength ?? (p.transposeA ? p.m : p.k) }
    private func ldb(_ p: MatrixProduct) -> Int { p.rowLength ?? (p.transposeB ? p.k : p.n) }
}
