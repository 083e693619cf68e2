import { bundleProgram } from './bundle.js'

// For tests that tap runs: node test/support/bundle-program.js examples/server
await bundleProgram(process.argv[2])
