import CCLBlast
import COpenCL
import Foundation
import OpenCLRuntime

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
    }

    deinit {
        // CLBlast keeps programs of this context in a process-wide cache; some drivers crash at exit if they outlive it.
        CLBlastClearCache()
    }

    /// Makes the workspace large enough for a product; call while planning, before the first step.
    package func reserve(_ p: MatrixProduct) throws(DeviceError) {
        var bytes = 0
        var handle: cl_command_queue? = queue.handle
        let status = CLBlastSGemmTempBufferSize(
            CLBlastLayoutRowMajor, transpose(p.transposeA), transpose(p.transposeB), p.m, p.n, p.k, p.a.offset, lda(p),
            p.b.offset, ldb(p), p.c.offset, p.n, &handle, &bytes)
        try DeviceError.check(
            status.rawValue, .blasFailed, "matrix product [\(p.m), \(p.k)] x [\(p.k), \(p.n)] on \(context.device.name)")
        guard bytes > scratch?.bytes ?? 0 else { return }
        scratch = try Buffer(context, bytes: bytes, label: "matrix product workspace")
    }

    package func enqueue(_ p: MatrixProduct) throws(DeviceError) {
        try queue.enqueueExternal("sgemm \(p.m)x\(p.n)x\(p.k)") { queue, event in
            CLBlastSgemmWithTempBuffer(
                CLBlastLayoutRowMajor, transpose(p.transposeA), transpose(p.transposeB), p.m, p.n, p.k, 1, p.a.buffer.handle,
                p.a.offset, lda(p), p.b.buffer.handle, p.b.offset, ldb(p), p.accumulate ? 1 : 0, p.c.buffer.handle, p.c.offset,
                p.n, queue, event, scratch?.handle
            ).rawValue
        }
    }

    private func transpose(_ yes: Bool) -> CLBlastTranspose { yes ? CLBlastTransposeYes : CLBlastTransposeNo }
    private func lda(_ p: MatrixProduct) -> Int { p.transposeA ? p.m : p.k }
    private func ldb(_ p: MatrixProduct) -> Int { p.transposeB ? p.k : p.n }
}
