// Unpacks the npm package @sparticuz/chromium into a folder: the program, its libraries, fonts.
// Called by get_chromium.py. In JavaScript because Node can read Brotli and Python's standard library cannot.
import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { brotliDecompressSync } from 'node:zlib'

const folder = resolve(process.argv[2])
const packed = join(folder, 'npm/node_modules/@sparticuz/chromium/bin')
mkdirSync(join(folder, 'lib'), { recursive: true })

for (const [name, into] of [['al2023', folder], ['swiftshader', folder], ['fonts', join(folder, 'lib')]]) {
  const archive = brotliDecompressSync(readFileSync(join(packed, `${name}.tar.br`)))
  execFileSync('tar', ['-x', '-C', into, '-f', '-'], { input: archive })
}
// The program comes last and in one move: where it stands, everything else is complete.
const part = join(folder, 'chrome.part')
writeFileSync(part, brotliDecompressSync(readFileSync(join(packed, 'chromium.br'))), { mode: 0o755 })
renameSync(part, join(folder, 'chrome'))
