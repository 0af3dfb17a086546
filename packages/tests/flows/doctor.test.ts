import {
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { type AddressInfo, createServer as createTcpServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { createAuth, createServer, silentLog, sqliteStorage } from '@trpc-login/server'
import { loadConfig } from '@trpc-login/server/config'
import { beforeAll, expect, onTestFinished, test, vi } from 'vitest'
import { examine } from '../../server/src/cli/doctor.ts'
import { developmentTls } from '../../server/src/http/development-tls.ts'
import { CLI, cli, run, start, temporaryDirectory } from '../support/process.ts'
import { DAY, HOUR } from '../support/server.ts'
import { hasNamespaces } from '../support/tools.ts'

// Each test starts the command several times, which takes long where the machine is busy.
vi.setConfig({ testTimeout: 90_000 })

interface Place {
  readonly dir: string
  readonly file: string
  readonly env: Record<string, string>
}

/** A data directory with a closed database of some users in it, and the settings that name it. */
function makeDatabase(): Place {
  const dir = temporaryDirectory()
  const file = join(dir, 'login.db')
  writeFileSync(file, template, { mode: 0o600 })
  return { dir, file, env: { TRPC_LOGIN_DATA_DIR: dir, TRPC_LOGIN_PORT: '0' } }
}

let template: Buffer
beforeAll(async () => {
  const dir = mkdtempSync(join(tmpdir(), 'trpc-login-doctor-'))
  const path = join(dir, 'login.db')
  const auth = createAuth({ storage: sqliteStorage({ path }), log: silentLog })
  for (let i = 0; i < 30; i += 1) await auth.users.create({ username: `user${i}`, name: 'x'.repeat(200) })
  await auth.close()
  template = readFileSync(path)
  rmSync(dir, { recursive: true })
})

function execute(file: string, sql: string): void {
  const db = new DatabaseSync(file)
  db.exec(sql)
  db.close()
  chmodSync(file, 0o600)
}

/** The beginning stays, so that it opens. */
function damage(file: string): void {
  const descriptor = openSync(file, 'r+')
  for (let page = 3; page < statSync(file).size / 4096; page += 2)
    writeSync(descriptor, Buffer.alloc(4096, 0xa5), 0, undefined, page * 4096)
  closeSync(descriptor)
}

/** What is wrong, and what to do. */
async function failures(env: Record<string, string>): Promise<(readonly [string, string | undefined])[]> {
  const findings = await examine(loadConfig(env))
  return findings.filter(({ ok }) => !ok).map(({ check, detail, remedy }) => [`${check}: ${detail}`, remedy])
}

const RESTORE = 'keep the file and its log as they are, and restore a backup \\(docs/storage\\.md\\)'
const MIGRATE = 'trpc-login migrate'

interface State {
  readonly of: string
  readonly made: (place: Place) => void
  readonly says: string
  readonly todo: string
}

const STATES: readonly State[] = [
  {
    of: 'a lost file beside its log',
    made: ({ file }) => {
      rmSync(file)
      writeFileSync(`${file}-wal`, 'what was written last', { mode: 0o600 })
    },
    says: 'database: FILE is missing, and its log FILE-wal is not',
    todo: 'restore both, or a backup',
  },
  {
    of: 'an empty file',
    made: ({ file }) => truncateSync(file, 0),
    says: 'database: FILE is empty, as no database of ours is',
    todo: 'restore a backup, or remove the file to start over',
  },
  { of: 'damaged pages', made: ({ file }) => damage(file), says: 'database: FILE is damaged: .*', todo: RESTORE },
  {
    of: 'a file that is no database',
    made: ({ file }) => writeFileSync(file, 'something else altogether '.repeat(200)),
    says: 'database: FILE is no SQLite database, or its beginning is damaged',
    todo: 'name another file with TRPC_LOGIN_DATABASE_URL, or restore a backup',
  },
  {
    of: 'a database of another program',
    made: ({ file }) => {
      rmSync(file)
      execute(file, 'create table users (id integer)')
    },
    says: 'database: the database has a table users that is not ours',
    todo: 'name a database of its own with TRPC_LOGIN_DATABASE_URL',
  },
  {
    of: 'a database without a schema',
    made: ({ file }) => {
      rmSync(file)
      execute(file, 'create table notes (id integer)')
    },
    says: 'database: the schema lacks 1 users and sessions, 2 attempts, .*',
    todo: MIGRATE,
  },
  {
    of: 'a schema that is behind',
    made: ({ file }) =>
      execute(file, 'delete from trpc_login_migrations where version = 5; drop table identities; drop table oauth_transactions'),
    says: 'database: the schema lacks 5 sign-in with others',
    todo: MIGRATE,
  },
  {
    of: 'a schema that is newer',
    made: ({ file }) => execute(file, "insert into trpc_login_migrations values (99, 'to come', 'x', 0)"),
    says: 'database: the database has schema version 99, newer than this program knows',
    todo: 'upgrade trpc-login',
  },
  {
    of: 'a migration with another text',
    made: ({ file }) => execute(file, "update trpc_login_migrations set checksum = 'x' where version = 2"),
    says: 'database: migration 2 \\(attempts\\) was applied with another text',
    todo: 'restore the database or the program',
  },
  {
    of: 'a file that others can read',
    made: ({ file }) => chmodSync(file, 0o644),
    says: 'database: FILE can be read by other users \\(mode 644\\)',
    todo: 'chmod 600 FILE',
  },
  {
    of: 'a log that others can read',
    made: ({ file }) => {
      writeFileSync(`${file}-wal`, '')
      chmodSync(`${file}-wal`, 0o644)
    },
    says: 'database: FILE-wal can be read by other users \\(mode 644\\)',
    todo: 'chmod 600 FILE-wal',
  },
  {
    of: 'a directory that others can enter',
    made: ({ dir }) => chmodSync(dir, 0o755),
    says: 'data directory: DIR can be entered by other users \\(mode 755\\)',
    todo: 'chmod 700 DIR',
  },
  ...['users', 'sessions', 'attempts', 'resets', 'audit', 'identities', 'oauth_transactions', 'changes'].map((table) => ({
    of: `the table ${table} that is missing`,
    made: ({ file }: Place) => execute(file, `drop table ${table}`),
    says: `database: FILE: no such table: (?:main\\.)?${table}`,
    todo: RESTORE,
  })),
  {
    of: 'a clock that was set back',
    made: ({ file }) => execute(file, `update audit set at = at + ${DAY}`),
    says: 'database: its latest entry is of .*, which is to come: the clock was set back',
    todo: 'set the clock; sessions and limits count by it',
  },
]

test.each(STATES)('doctor says of $of what it is, and what to do', async ({ made, says, todo }) => {
  const place = makeDatabase()
  expect(await failures(place.env)).toEqual([])
  made(place)
  const pattern = (text: string) => new RegExp(`^${text.replaceAll('FILE', place.file).replaceAll('DIR', place.dir)}$`)
  const [first] = await failures(place.env)
  expect(first).toEqual([expect.stringMatching(pattern(says)), expect.stringMatching(pattern(todo))])
})

test.each(STATES.filter(({ of }) => /damaged|no database|another program|lost|empty|newer/.test(of)))(
  'serve refuses $of with the sentence that doctor says, and leaves the file as it is',
  async ({ made }) => {
    const place = makeDatabase()
    made(place)
    const before = existsSync(place.file) ? readFileSync(place.file, 'hex') : null
    const said = (await failures(place.env))[0]?.join('; ').replace('database: ', '')
    const { code, stdout, stderr } = await cli(['serve'], { cwd: place.dir, env: place.env })
    expect([code, stdout]).toEqual([1, ''])
    expect(stderr.trimEnd().split('\n').at(-1)).toBe(`trpc-login: ${said}`)
    expect(existsSync(place.file) ? readFileSync(place.file, 'hex') : null).toBe(before)
  },
)

test('a command that may not make a database makes none of a file that is another program’s, and migrate leaves it where names collide', async () => {
  const { dir, file, env } = makeDatabase()
  rmSync(file)
  execute(file, 'create table notes (id integer)')
  const notes = readFileSync(file, 'hex')
  const listed = await cli(['user', 'list'], { cwd: dir, env })
  expect([listed.code, listed.stderr]).toEqual([3, expect.stringContaining(`${file} holds nothing of ours`)])
  expect(readFileSync(file, 'hex')).toBe(notes)
  execute(file, 'create table audit (id integer)')
  const collided = readFileSync(file, 'hex')
  for (const args of [['migrate'], ['user', 'add', 'ada', '--no-password']]) {
    const { code, stderr } = await cli(args, { cwd: dir, env })
    expect([code, stderr]).toEqual([
      1,
      expect.stringContaining('the database has a table audit that is not ours; name a database of its own'),
    ])
  }
  expect(readFileSync(file, 'hex')).toBe(collided)
})

test('of a database that another process holds locked doctor, serve and every command say so, and who to look for', async () => {
  const { dir, file, env } = makeDatabase()
  const holder = start(join(import.meta.dirname, '../support/hold-lock.ts'), [file], { cwd: dir })
  await holder.seen('locked')
  const problem = [
    `database: ${file} is locked: another process has begun to write and does not finish`,
    `end that process; fuser ${file} names who has the file open`,
  ]
  expect(await failures(env)).toEqual([problem])
  const commands = [['serve'], ['user', 'disable', 'user1'], ['serve', '--workers', '2']]
  for (const { code, stdout, stderr } of await Promise.all(commands.map((args) => cli(args, { cwd: dir, env })))) {
    expect([code, stdout]).toEqual([1, ''])
    expect(stderr.match(/^trpc-login: .*$/gm)).toEqual([`trpc-login: ${problem.join('; ').replace('database: ', '')}`])
  }
})

test.runIf(hasNamespaces).each([
  [
    'full',
    'dd if=/dev/zero of="$0/filler" bs=4096 2>/dev/null',
    /^FAIL database: the disk of .* is full\n +make room on the file system of /m,
  ],
  ['read-only', 'mount -o remount,ro "$0"', /^FAIL database: .*login\.db cannot be written(?:: EROFS| by this user)\n +/m],
])('of a disk that is %s doctor says so', async (_state, act, said) => {
  const cwd = temporaryDirectory()
  const data = join(cwd, 'data')
  mkdirSync(data, { mode: 0o700 })
  const tl = '"$1" --conditions=@trpc-login/source "$2"'
  const script = `mount -t tmpfs -o size=4m,mode=700 tmpfs "$0" && ${tl} migrate && { ${act}; } ; ${tl} doctor`
  const { code, stdout } = await run('unshare', ['--mount', '--map-root-user', 'sh', '-c', script, data, process.execPath, CLI], {
    cwd,
    env: { TRPC_LOGIN_DATA_DIR: data, TRPC_LOGIN_PORT: '0' },
  }).ended
  expect([code, stdout]).toEqual([1, expect.stringMatching(said)])
})

test.runIf(hasNamespaces)(
  'on a disk that fills while the database is open each failure says so, and not what the clearing up met',
  async () => {
    const data = join(temporaryDirectory(), 'data')
    mkdirSync(data, { mode: 0o700 })
    const script = 'mount -t tmpfs -o size=4m,mode=700 tmpfs "$0" && exec "$1" --conditions=@trpc-login/source "$2" "$0"'
    const program = join(import.meta.dirname, '../support/on-full-disk.ts')
    const { stdout, stderr } = await run('unshare', ['--mount', '--map-root-user', 'sh', '-c', script, data, process.execPath, program], {
      cwd: data,
    }).ended
    expect(stderr).toBe('')
    expect(JSON.parse(stdout)).toEqual({
      failure: 'database or disk is full',
      migration: 'database or disk is full',
      after: 'eve',
      findings: [
        {
          check: 'database',
          ok: false,
          detail: `the disk of ${data}/login.db is full`,
          remedy: `make room on the file system of ${data}`,
        },
      ],
    })
  },
)

/** A certificate and its key in files of their own. */
async function makeCertificate(from = Date.now()) {
  const cwd = temporaryDirectory()
  const { cert, key } = await developmentTls(join(cwd, 'authority'), '127.0.0.1', from)
  const [certFile, keyFile] = [join(cwd, 'cert.pem'), join(cwd, 'key.pem')]
  writeFileSync(certFile, cert)
  writeFileSync(keyFile, key, { mode: 0o600 })
  return { certFile, keyFile }
}

test.each([
  ['that has expired', Date.now() - 400 * DAY, 'the certificate expired on .*', 'renew it'],
  [
    'that begins later',
    Date.now() + 2 * HOUR,
    'the certificate begins on .*, and that is to come',
    'set the clock, or use another until then',
  ],
  ['that ends soon', Date.now() - 390 * DAY, 'expires .*', 'renew it; a running server takes the new files by itself'],
])('doctor says of a certificate %s what it is, and what to do', async (_state, from, says, todo) => {
  const { certFile, keyFile } = await makeCertificate(from)
  const { env } = makeDatabase()
  const said = await failures({ ...env, TRPC_LOGIN_TLS_CERT: certFile, TRPC_LOGIN_TLS_KEY: keyFile })
  expect(said).toEqual([[expect.stringMatching(new RegExp(`^certificate: .*${says}$`)), todo]])
})

test('doctor says of a key that others can read, one of another certificate, and files that are none or missing, what to do', async () => {
  const [one, two] = [await makeCertificate(), await makeCertificate()]
  const { env, dir } = makeDatabase()
  const said = (certFile: string, keyFile: string) => failures({ ...env, TRPC_LOGIN_TLS_CERT: certFile, TRPC_LOGIN_TLS_KEY: keyFile })
  expect(await said(one.certFile, one.keyFile)).toEqual([])
  expect((await said(one.certFile, two.keyFile))[0]?.[1]).toBe('give the two that were made for each other')
  expect((await said(one.certFile, join(dir, 'none')))[0]).toEqual([
    `certificate: ${join(dir, 'none')} cannot be read: ENOENT`,
    'check path, owner and mode',
  ])
  expect((await said(one.keyFile, one.keyFile))[0]?.[1]).toBe('give PEM files, the key without a passphrase')
  chmodSync(one.keyFile, 0o644)
  expect(await said(one.certFile, one.keyFile)).toEqual([
    [`certificate: ${one.keyFile} can be read by other users (mode 644)`, `chmod 600 ${one.keyFile}`],
  ])
})

test('doctor says of a port that another program has that it is taken, and is content where a server of ours runs', async () => {
  const { env, dir } = makeDatabase()
  const other = createTcpServer((socket) => socket.end())
  await new Promise<void>((resolve) => void other.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => void other.close())
  const taken = String((other.address() as AddressInfo).port)
  expect(await failures({ ...env, TRPC_LOGIN_PORT: taken })).toEqual([
    [
      `address: cannot listen on 127.0.0.1:${taken}: the port is taken by another process (EADDRINUSE)`,
      expect.stringContaining('TRPC_LOGIN_PORT'),
    ],
  ])
  const auth = createAuth({ storage: sqliteStorage({ path: ':memory:' }), log: silentLog })
  const server = await createServer({ auth, router: auth.router, port: 0, tls: { developmentDir: dir } })
  onTestFinished(() => server.close())
  const findings = await examine(loadConfig({ ...env, TRPC_LOGIN_PORT: String(server.port) }))
  expect(findings.at(-1)).toMatchObject({ check: 'address', ok: true, detail: expect.stringContaining('where a server of ours runs') })
  expect((await failures({ ...env, TRPC_LOGIN_HOST: '192.0.2.1', ...(await certificateSettings()) }))[0]?.[0]).toMatch(
    /this machine has no such address/,
  )
  expect((await failures({ ...env, TRPC_LOGIN_HOST: '0.0.0.0' }))[0]?.[0]).toMatch(/reachable from outside with a development certificate/)
})

async function certificateSettings(): Promise<Record<string, string>> {
  const { certFile, keyFile } = await makeCertificate()
  return { TRPC_LOGIN_TLS_CERT: certFile, TRPC_LOGIN_TLS_KEY: keyFile }
}

test('doctor looks at no data directory that nothing of the server is in', async () => {
  const { file } = makeDatabase()
  const open = temporaryDirectory()
  chmodSync(open, 0o755)
  const env = { TRPC_LOGIN_DATA_DIR: open, TRPC_LOGIN_PORT: '0', TRPC_LOGIN_DATABASE_URL: `sqlite:${file}` }
  expect((await failures(env))[0]?.[1]).toBe(`chmod 700 ${open}`)
  expect(await failures({ ...env, ...(await certificateSettings()) })).toEqual([])
})
