import { DatabaseSync } from 'node:sqlite'

// Takes the one write lock of a database and keeps it until it is killed.
const db = new DatabaseSync(process.argv[2] ?? '', { timeout: 5000 })
db.exec('begin immediate')
process.stdout.write('locked')
setInterval(() => {}, 1000)
