import { expect, test } from 'vitest'
import { type Format, readRecords } from '../../server/src/cli/import-format.ts'
import { cutRecords } from '../../server/src/cli/import-records.ts'
import { COLUMNS, toRecord } from '../../server/src/cli/import-user.ts'

const HASH = '$2y$05$KJdpJHHMOv0KdhL77IoG.uTdbB8hTm7N8N6oEUlCkubiUcLIiJrbC'

async function* inPieces(content: string | Buffer, size: number): AsyncGenerator<Buffer> {
  const bytes = Buffer.from(content)
  for (let from = 0; from < bytes.length; from += size) yield bytes.subarray(from, from + size)
}

/** The users that a file names, and what is said of which lines. */
async function read(format: Format, content: string | Buffer, size: number) {
  const users: string[] = []
  const said: string[] = []
  for await (const { line, lastLine, ...record } of readRecords(inPieces(content, size), format, COLUMNS)) {
    const user = 'problem' in record ? record.problem : toRecord(record.row, 0, (role) => (role === 'admin' ? null : `${role} is no role`))
    if (typeof user !== 'string') users.push(user.name === null ? user.username : `${user.username} (${user.name})`)
    else said.push(`${line === lastLine ? line : `${line}-${lastLine}`}: ${user}`)
  }
  return { users, said }
}

const NOT_UTF8 = 'not UTF-8; convert the file, such as with: iconv -f ISO-8859-1 -t UTF-8'
const BEHIND = 'text stands behind a closing quote'

const FILES: readonly (readonly [string, Format, string | Buffer, readonly string[], readonly string[]])[] = [
  ['quotes, commas and doubled quotes', 'csv', 'username,name\r\n"ann","Ann ""A"", of B"\r\n', ['ann (Ann "A", of B)'], []],
  ['an empty first field', 'csv', 'name,username\n,ann\n"",bob\n', ['ann', 'bob'], []],
  ['an empty last field, and empty lines', 'csv', '\nusername,name\nann,\n\r\nbob,""\n\n', ['ann', 'bob'], []],
  ['no line end at the end', 'csv', 'username,name\nann,A', ['ann (A)'], []],
  [
    'a line end in quotes, which no name may hold',
    'csv',
    'username,name\nann,"A\nB"\nbob,B\n',
    ['bob (B)'],
    ['2-3: name Must not contain'],
  ],
  ['text behind a closing quote', 'csv', 'username,name\nann,"A" B\nbob,B\n', ['bob (B)'], [`2: ${BEHIND}`]],
  [
    'a quote inside of a plain field',
    'csv',
    'username,name\nann,O"Brien\nbob,B\n',
    ['bob (B)'],
    ['2: a quote stands in a field that does not begin'],
  ],
  ['a blank before a quote', 'csv', 'username,name\nann, "A"\nbob,B\n', ['bob (B)'], ['2: a quote stands in a field that does not begin']],
  ['a quote that another row closes', 'csv', 'username,name\nann,"A\nbob,"B"\neve,E\n', ['eve (E)'], [`2-3: ${BEHIND}`]],
  [
    'a quote that is never closed',
    'csv',
    'username,name\nann,A\nbob,"B\neve,E\n',
    ['ann (A)'],
    ['3-4: a quote is opened and never closed'],
  ],
  ['a carriage return alone', 'csv', 'username,name\nann,A\rB\nbob,B\n', ['bob (B)'], ['2: a carriage return stands outside of quotes']],
  ['a carriage return at the end', 'csv', 'username,name\nann,A\nbob,B\r', ['ann (A)'], ['3: a carriage return stands outside of quotes']],
  [
    'too few and too many fields',
    'csv',
    'username,name\nann\nbob,B,x\neve,E\n',
    ['eve (E)'],
    ['2: it has 1 fields, and the head has 2', '3: it has 3'],
  ],
  [
    'records in a field that is too long',
    'csv',
    `username,name\nann,"${'eve,E\n'.repeat(20_000)}"\nbob,B\n`,
    ['bob (B)'],
    ['2-20002: a record is longer than 65536'],
  ],
  [
    'a line that is too long',
    'ndjson',
    `{"username":"${'a'.repeat(70_000)}"}\n{"username":"bob"}\n`,
    ['bob'],
    ['1: a record is longer than 65536'],
  ],
  [
    'a line that is far too long',
    'ndjson',
    `{"username":"ann"}\n${'a'.repeat(1_100_000)}\n{"username":"bob"}\n`,
    ['ann'],
    ['2: a line is longer than 1048576'],
  ],
  ['Latin-1', 'csv', Buffer.from('username,name\nann,José\nbob,B\n', 'latin1'), ['bob (B)'], [`2: ${NOT_UTF8}`]],
  ['Latin-1', 'ndjson', Buffer.from('{"username":"ann","name":"José"}\n{"username":"bob"}', 'latin1'), ['bob'], [`1: ${NOT_UTF8}`]],
  ['Latin-1', 'htpasswd', Buffer.from(`josé:${HASH}\nbob:${HASH}\n`, 'latin1'), ['bob'], [`1: ${NOT_UTF8}`]],
  ['letters of several bytes', 'csv', 'username,name\nжук,José 🐞\n', ['жук (José 🐞)'], []],
  ['a byte order mark', 'csv', '\u{feff}username,name\nann,A\n', ['ann (A)'], []],
  ['a byte order mark before a quote', 'csv', '\u{feff}"username","name"\nann,A\n', ['ann (A)'], []],
  ['a byte order mark', 'ndjson', '\u{feff}{"username":"ann"}\n', ['ann'], []],
  ['a byte order mark', 'htpasswd', `\u{feff}ann:${HASH}\n`, ['ann'], []],
  [
    'lines that are no objects',
    'ndjson',
    '[1]\nnope\nnull\n{"username":"ann"}\r\n\r\n',
    ['ann'],
    ['1: not a JSON object', '2: not valid JSON', '3: not a JSON'],
  ],
  [
    'keys that are none',
    'ndjson',
    '{"username":"ann","__proto__":{"x":1}}\n{"usrname":"bob"}\n',
    [],
    ['1: Unrecognized key: "__proto__"', '2: username'],
  ],
  ['lines without a colon', 'htpasswd', `# staff\nann\n:x\nbob:${HASH}\n`, ['bob'], ['2: not of the form NAME:HASH', '3: not of the form']],
  [
    'a role that is misspelt',
    'ndjson',
    '{"username":"ann","roles":["edtior"]}\n{"username":"bob","roles":"admin"}\n',
    ['bob'],
    ['1: edtior is no role'],
  ],
]

test.each(FILES)('%s in %s is read right, or rejected with its line and the reason', async (_what, format, content, users, said) => {
  // However the bytes arrive.
  for (const size of Buffer.from(content).length > 10_000 ? [65_536, 4099] : [65_536, 7, 1]) {
    const result = await read(format, content, size)
    expect(result.users).toEqual(users)
    expect(result.said).toEqual(said.map((text) => expect.stringMatching(new RegExp(`^${text.replaceAll(/[()]/g, '\\$&')}`))))
  }
})

test.each([
  ['data in the first line', 'ann,ann@example.com\n', 'no column "ann", "ann@example.com"'],
  ['other separators', 'username;name\nann;A\n', 'no column "username;name"'],
  ['a column that is named twice', 'username,name,name\n', 'a column is named twice'],
  ['no usernames', 'name,email\nA,a@example.com\n', 'username is missing'],
  ['carriage returns alone', 'username,name\rann,A\r', 'a carriage return'],
  ['a broken head', 'username,"name\nann,A\n', 'a quote is opened and never closed'],
  ['nothing', '', 'the file is empty'],
  ['UTF-16', Buffer.from('\u{feff}username\nann\n', 'utf16le'), 'UTF-16'],
])('a CSV file with %s is refused whole, and says which columns there are', async (_what, content, message) => {
  const reading = read('csv', content, 65_536)
  await expect(reading).rejects.toThrow(message)
})

/** Rows with one quote too many, as they come from a disk. */
async function* rowsWithStrayQuote(rows: number): AsyncGenerator<Buffer> {
  yield Buffer.from('username,name\nfirst,"First\n')
  const part = Buffer.from(Array.from({ length: 1000 }, (_, index) => `user${index},Name of ${index}\n`).join(''))
  for (let n = 0; n < rows; n += 1000) yield part
}

async function cpuOf(act: () => Promise<unknown>): Promise<number> {
  const before = process.cpuUsage()
  await act()
  const { user, system } = process.cpuUsage(before)
  return user + system
}

async function readAll(rows: number) {
  const pieces = []
  for await (const piece of cutRecords(rowsWithStrayQuote(rows), { quotes: true })) pieces.push(piece)
  return pieces
}

test('a million rows with one quote too many are read once, and rejected as what they are: time grows as the rows do', async () => {
  const [head, rest, ...none] = await readAll(1_000_000)
  expect([head?.text, none]).toEqual(['username,name', []])
  expect(rest).toEqual({ line: 2, lastLine: 1_000_002, text: '', isEnd: true, problem: expect.stringContaining('never closed') })
  const half = await cpuOf(() => readAll(500_000))
  const whole = await cpuOf(() => readAll(1_000_000))
  expect(whole / half).toBeLessThan(4)
})

test('of a line that has no end only the first mebibyte is read', async () => {
  let bytes = 0
  async function* endless(): AsyncGenerator<Buffer> {
    for (;;) {
      bytes += 65_536
      yield Buffer.alloc(65_536, 'a')
    }
  }
  for (const quotes of [true, false]) {
    bytes = 0
    const pieces = []
    for await (const piece of cutRecords(endless(), { quotes })) pieces.push(piece)
    expect(pieces).toEqual([{ line: 1, lastLine: 1, text: '', isEnd: true, problem: expect.stringContaining('longer than 1048576 bytes') }])
    expect(bytes).toBeLessThan(1_200_000)
  }
})
