import CCLBlast
import COpenCL
import Foundation
import OpenCLRuntime

/// C = A B (+ C), row-major float32: A is [m, k] or, transposed, [k, m]; B is [k, n] or [n, k]; leading dimensions are the
/// stored rows' lengths.
struct MatrixProduct {
    var m: Int
    var n: Int
    var k: Int
    var a: DeviceSlice
    var transposeA = false
    var b: DeviceSlice
    var transposeB = false
    var c: DeviceSlice
    /// Add to C instead of overwriting it.
    var accumulate = false
}

/// Matrix products through CLBlast, with parameters chosen for the device and a workspace of our own, so that a product
/// in steady state allocates nothing.
package final class MatrixProducts {
    private let context: Context
    private let queue: CommandQueue
    private var scratch: Buffer?

    init(context: Context, queue: CommandQueue) throws(DeviceError) {
        self.context = context
        self.queue = queue
        if context.device.isCPU { try Self.overrideParametersForCPU(context.device) }
    }

    deinit {
        // CLBlast keeps programs of this context in a process-wide cache; some drivers crash at exit if they outlive it.
        CLBlastClearCache()
    }

    /// CLBlast ships no parameters for CPU devices. Xgemm's were measured on PoCL with AVX-512 (104 GFLOPS against 22 with the
    /// defaults): work-groups of one, each with a register tile, no local memory. XgemmDirect's only have to be valid.
    private static func overrideParametersForCPU(_ device: Device) throws(DeviceError) {
        try override(
            device, "Xgemm",
            [
                ("GEMMK", 0), ("KREG", 1), ("KWG", 32), ("KWI", 2), ("MDIMA", 1), ("MDIMC", 1), ("MWG", 32), ("NDIMB", 1),
                ("NDIMC", 1), ("NWG", 8), ("SA", 0), ("SB", 0), ("STRM", 0), ("STRN", 0), ("VWM", 8), ("VWN", 8),
            ])
        try override(
            device, "XgemmDirect",
            [
                ("KWID", 2), ("MDIMAD", 8), ("MDIMCD", 8), ("NDIMBD", 8), ("NDIMCD", 8), ("PADA", 0), ("PADB", 0), ("VWMD", 1),
                ("VWND", 1), ("WGD", 8),
            ])
        // Always the register-tiled kernel: the direct one needs local memory and barriers, which a CPU pays for.
        try override(device, "GemmRoutine", [("XGEMM_MIN_INDIRECT_SIZE", 1)])
    }

    private static func override(_ device: Device, _ kernel: String, _ parameters: [(String, Int)]) throws(DeviceError) {
        let names = parameters.map { strdup($0.0) }
        defer { names.forEach { free($0) } }
        var pointers = names.map { UnsafePointer($0) }
        let values = parameters.map { size_t($0.1) }
        let status = CLBlastOverrideParameters(
            device.handle, kernel, CLBlastPrecisionSingle, parameters.count, &pointers, values)
        guard status == CLBlastSuccess else {
            throw DeviceError(
                .blasFailed, "CLBlast refused the parameters of \(kernel) for \(device.name)",
                status: CLStatus(rawValue: status.rawValue))
        }
    }

    /// Makes the workspace large enough for a product; call while planning, before the first step.
    func reserve(_ p: MatrixProduct) throws(DeviceError) {
        var bytes = 0
        var handle: cl_command_queue? = queue.handle
        let status = CLBlastSGemmTempBufferSize(
            CLBlastLayoutRowMajor, transpose(p.transposeA), transpose(p.transposeB), p.m, p.n, p.k, p.a.offset, lda(p),
            p.b.offset, ldb(p), p.c.offset, p.n, &handle, &bytes)
        try check(status, p)
        guard bytes > scratch?.bytes ?? 0 else { return }
        scratch = try Buffer(context, bytes: bytes, label: "matrix product workspace")
    }

    func enqueue(_ p: MatrixProduct) throws(DeviceError) {
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

    private func check(_ status: CLBlastStatusCode, _ p: MatrixProduct) throws(DeviceError) {
        guard status != CLBlastSuccess else { return }
        throw DeviceError(
            .blasFailed, "matrix product [\(p.m), \(p.k)] x [\(p.k), \(p.n)] on \(context.device.name) failed",
            status: CLStatus(rawValue: status.rawValue))
    }
}
