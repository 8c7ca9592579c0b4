import Foundation
import RLDVersion

/// What a run ran on: environment.json.
public struct RunEnvironment: Sendable, Equatable, Codable {
    /// What computed, driver included.
    public var executor: String
    /// The device's name, its platform, its driver's version and its OpenCL version; nil on the reference.
    public var device: String?
    public var platform: String?
    public var driver: String?
    public var opencl: String?
    /// NAME[:PATH].
    public var data: String
    /// Of the pixels and labels that were loaded, hexadecimal.
    public var dataHash: String
    /// Of the weights of each teacher, in order; nil without one.
    public var teacherHashes: [String]?
    /// Of the weights that the run began with.
    public var initialHash: String?
    public var trainingImages: Int
    public var validationImages: Int
    public var testImages: Int
    public var classNames: [String]
    /// Damaged files that were left out, and why.
    public var skippedFiles: [String]
    public var commit = BuildVersion.commit
    public var swift = BuildVersion.swift
    public var clblast = BuildVersion.clblast
    public var openclLoader = BuildVersion.openCLLoader
    public var system = ProcessInfo.processInfo.operatingSystemVersionString
    public var processors = ProcessInfo.processInfo.activeProcessorCount
    /// ISO 8601, UTC.
    public var started = Date().formatted(.iso8601)
    /// What the run ran on before, where it went on on something else: another device, driver or build; the first one first.
    public var earlier: [RunEnvironment]?

    /// The same after what a run's folder says so far.
    func following(_ former: RunEnvironment) -> RunEnvironment {
        var (result, former) = (self, former)
        result.earlier = former.earlier
        // What a run began with, no later process knows.
        result.initialHash = former.initialHash
        former.earlier = nil
        var same = result
        (same.started, same.earlier) = (former.started, nil)
        if same == former {
            result.started = former.started
        } else {
            result.earlier = (result.earlier ?? []) + [former]
        }
        return result
    }
}
