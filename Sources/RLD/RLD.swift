// The umbrella: `import RLD` gives everything that a program needs.
@_exported import OpenCLRuntime
@_exported import RLDDatasets
@_exported import RLDExecution
@_exported import RLDFormats
@_exported import RLDGraph
@_exported import RLDMethods
@_exported import RLDModels
@_exported import RLDReference
@_exported import RLDReports
@_exported import RLDTraining
@_exported import RLDVersion
