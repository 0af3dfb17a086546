import { complaintAboutNode } from './supported-node.ts'

// The first import of every entry: on an older Node, what comes after it ends in errors that name neither cause nor remedy.
const complaint = complaintAboutNode()
// Without a stack: there is nothing to look for.
if (complaint !== null) throw Object.assign(new Error(complaint), { stack: complaint })
