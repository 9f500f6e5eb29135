"""Office documents and PDFs by the libraries that offices' own files are compatible with."""

import io
from random import Random

from samples.pictures import chart, encoded
from samples.prose import paragraph, sentence, tide_rows


def report_pdf(title: str, seed: int, pages: int = 4, password: str | None = None) -> bytes:
    """A report with a chart on its first page; with a password nobody opens it without."""
    from reportlab.lib.pagesizes import A4
    from reportlab.lib.styles import getSampleStyleSheet
    from reportlab.lib.units import cm
    from reportlab.platypus import Image, PageBreak, Paragraph, SimpleDocTemplate, Spacer, Table

    styles, buffer = getSampleStyleSheet(), io.BytesIO()
    story = [Paragraph(title, styles["Title"]), Paragraph(paragraph(seed), styles["BodyText"]), Spacer(1, cm)]
    story += [Image(io.BytesIO(encoded(chart(seed), "PNG")), 16 * cm, 10 * cm)]
    for page in range(1, pages):
        story += [PageBreak(), Paragraph(f"{page}. {sentence(seed + page)}", styles["Heading2"])]
        story += [Paragraph(paragraph(seed * 31 + page * 7 + part), styles["BodyText"]) for part in range(4)]
        story += [Spacer(1, cm), Table([["Gauge", "High water", "Low water"], *tide_rows(seed + page, 12)])]
    SimpleDocTemplate(buffer, pagesize=A4, title=title, author="Harbour survey", encrypt=password, invariant=1).build(
        story
    )
    return buffer.getvalue()


def drawing_pdf(title: str, seed: int) -> bytes:
    """One wide page of lines: a plan."""
    from reportlab.lib.pagesizes import A3, landscape
    from reportlab.pdfgen.canvas import Canvas

    random, buffer = Random(seed), io.BytesIO()
    page = Canvas(buffer, pagesize=landscape(A3), invariant=1)
    page.setTitle(title)
    width, height = landscape(A3)
    page.rect(30, 30, width - 60, height - 60)
    for _ in range(60):
        x, y = random.uniform(60, width - 200), random.uniform(60, height - 200)
        page.rect(x, y, random.uniform(10, 140), random.uniform(10, 90))
        page.line(x, y, x + random.uniform(-90, 90), y + random.uniform(-90, 90))
    page.setFont("Helvetica-Bold", 22)
    page.drawString(60, 50, title)
    page.save()
    return buffer.getvalue()


def minutes_docx(title: str, seed: int, paragraphs: int = 14) -> bytes:
    """Minutes with headings, a list and a table."""
    from docx import Document

    document, buffer = Document(), io.BytesIO()
    document.add_heading(title, 0)
    for number in range(paragraphs):
        if number % 4 == 0:
            document.add_heading(sentence(seed + number), 2)
        document.add_paragraph(paragraph(seed + number))
    for number in range(5):
        document.add_paragraph(sentence(seed * 3 + number), style="List Bullet")
    table = document.add_table(rows=0, cols=3)
    for row in tide_rows(seed, 8):
        for cell, value in zip(table.add_row().cells, row, strict=True):
            cell.text = value
    document.save(buffer)
    return buffer.getvalue()


def tide_xlsx(seed: int, years: range, rows: int = 400) -> bytes:
    """A sheet of tide tables for each year."""
    from openpyxl import Workbook

    book, buffer = Workbook(write_only=True), io.BytesIO()
    for year in years:
        sheet = book.create_sheet(str(year))
        sheet.append(["Gauge", "High water", "Low water"])
        for row in tide_rows(seed + year, rows):
            sheet.append(row)
    book.save(buffer)
    return buffer.getvalue()


def slides_pptx(title: str, seed: int, slides: int = 6) -> bytes:
    """A talk: a title, then points, one picture."""
    from pptx import Presentation
    from pptx.util import Cm

    talk, buffer = Presentation(), io.BytesIO()
    first = talk.slides.add_slide(talk.slide_layouts[0])
    first.shapes.title.text = title
    first.placeholders[1].text = sentence(seed)
    for number in range(1, slides):
        slide = talk.slides.add_slide(talk.slide_layouts[1])
        slide.shapes.title.text = sentence(seed + number)
        slide.placeholders[1].text = "\n".join(sentence(seed * 5 + number * 3 + point) for point in range(4))
    last = talk.slides.add_slide(talk.slide_layouts[5])
    last.shapes.title.text = "Levels"
    last.shapes.add_picture(io.BytesIO(encoded(chart(seed), "PNG")), Cm(2), Cm(4), Cm(20))
    talk.save(buffer)
    return buffer.getvalue()


def letter_odt(title: str, seed: int) -> bytes:
    """A letter as OpenDocument text."""
    from odf.opendocument import OpenDocumentText
    from odf.text import H, P

    letter, buffer = OpenDocumentText(), io.BytesIO()
    letter.text.addElement(H(outlinelevel=1, text=title))
    for number in range(5):
        letter.text.addElement(P(text=paragraph(seed + number)))
    letter.write(buffer)
    return buffer.getvalue()


def levels_ods(seed: int, rows: int = 120) -> bytes:
    """A table as OpenDocument spreadsheet."""
    from odf.opendocument import OpenDocumentSpreadsheet
    from odf.table import Table, TableCell, TableRow
    from odf.text import P

    book, buffer = OpenDocumentSpreadsheet(), io.BytesIO()
    table = Table(name="Levels")
    for values in tide_rows(seed, rows):
        row = TableRow()
        for value in values:
            cell = TableCell()
            cell.addElement(P(text=value))
            row.addElement(cell)
        table.addElement(row)
    book.spreadsheet.addElement(table)
    book.write(buffer)
    return buffer.getvalue()
