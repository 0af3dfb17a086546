import { complaintAboutNode } from '../supported-node.ts'

// The first import of the command, before those that an older Node cannot load.
const complaint = complaintAboutNode()
if (complaint !== null) {
  process.stderr.write(`trpc-login: ${complaint}\n`)
  process.exit(1)
}
