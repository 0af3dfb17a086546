import { statSync } from 'node:fs'
import { problemWithPrivateDirectory, problemWithSecretFile } from '../../server/src/private-files.ts'

// Says what is wrong with a file and a directory, as a user whom neither belongs to, whoever runs this.
const [file = '', directory = ''] = process.argv.slice(2)
const [fileStats, directoryStats] = [statSync(file), statSync(directory)]
if (process.getuid?.() === 0) process.setuid?.(65_534)
process.stdout.write(JSON.stringify([problemWithSecretFile(file, fileStats), problemWithPrivateDirectory(directory, directoryStats)]))
