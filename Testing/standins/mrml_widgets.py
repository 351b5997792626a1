"""MRML's widgets and the parent of a scripted module's panel, as in the headers of 3D Slicer 5.12.3."""

import sys
import weakref

import shiboken6
import slicer
from PySide6 import QtCore, QtWidgets

from .ctk_widgets import ctkCheckableComboBox, row
from .properties import Signal, wrap
from .values import prop

Qt = QtCore.Qt
QWidget = QtWidgets.QWidget
Scene = slicer.vtkMRMLScene
Node = slicer.vtkMRMLNode


class qMRMLWidget(QWidget):
    _slicer = True
    mrmlSceneChanged = Signal("mrmlSceneChanged(vtkMRMLScene*)")
    _scene = None

    def mrmlScene(self):
        return self._scene

    def setMRMLScene(self, scene: Scene | None) -> None:
        if scene is not self._scene:
            self._scene = scene
            self.mrmlSceneChanged.emit(scene)


class qSlicerScriptedLoadableModuleWidget(qMRMLWidget):
    """What 3D Slicer gives a scripted module's widget as its parent."""

    _slicer = True
    _widgetClass = _self = None
    _entered = False
    isEntered = QtCore.Property(bool, lambda self: self._entered)
    moduleName = QtCore.Property(str, lambda self: self._widgetClass.__name__.removesuffix("Widget"))

    def self(self):
        return self._self

    def enter(self) -> None:
        self._entered = True
        self._self.enter() if hasattr(self._self, "enter") else None

    def exit(self) -> None:
        self._entered = False
        self._self.exit() if hasattr(self._self, "exit") else None

    def reload(self) -> None:
        self._make(getattr(sys.modules[self._widgetClass.__module__], self._widgetClass.__name__))

    def _make(self, widgetClass):
        self._widgetClass, self._self = widgetClass, widgetClass(wrap(self))
        self._self.setup()
        setattr(slicer.modules, widgetClass.__name__, self._self)
        if self._entered:
            self.enter()


class qSlicerModuleSelectorToolBar(QtWidgets.QToolBar):
    _slicer = True
    moduleSelected = Signal("moduleSelected(QString)")
    selectedModule = prop(str, "")

    def selectModule(self, name: str) -> None:
        self.selectedModule = name
        self.moduleSelected.emit(name)


class qSlicerMainWindow(QtWidgets.QMainWindow):
    _slicer = True

    def __init__(self):
        super().__init__()
        self.setObjectName("qSlicerMainWindow")
        self._selector = qSlicerModuleSelectorToolBar()

    def moduleSelector(self):
        return self._selector


class qMRMLNodeComboBox(QWidget):
    _slicer = True
    currentNodeChanged = Signal("currentNodeChanged(vtkMRMLNode*)", "currentNodeChanged(bool)")
    currentNodeIDChanged = Signal("currentNodeIDChanged(QString)")
    nodeActivated = Signal("nodeActivated(vtkMRMLNode*)")
    nodeAdded = Signal("nodeAdded(vtkMRMLNode*)")
    nodeAddedByUser = Signal("nodeAddedByUser(vtkMRMLNode*)")
    nodeTypes = prop("QStringList", [], "_update")
    showHidden = prop(bool, False, "_update")
    showChildNodeTypes = prop(bool, True, "_update")
    noneEnabled = prop(bool, False, "_update")
    noneDisplay = prop(str, "None", "_update")
    addEnabled = prop(bool, True)
    removeEnabled = prop(bool, True)
    editEnabled = prop(bool, False)
    renameEnabled = prop(bool, False)
    selectNodeUponCreation = prop(bool, True)
    baseName = prop(str, "")
    currentNodeID = QtCore.Property(str, lambda self: self._id(), lambda self, nodeID: self.setCurrentNodeID(nodeID))
    _boxClass = QtWidgets.QComboBox

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        self._scene, self._tags, self._current, self._nodes = None, [], None, []
        self._filling, self._watched = False, []
        self._box = self._boxClass(self)
        self._box.setSizePolicy(QtWidgets.QSizePolicy.Expanding, QtWidgets.QSizePolicy.Fixed)
        row(self, self._box)
        self._box.currentIndexChanged.connect(self._picked)
        self._box.activated.connect(lambda index: self.nodeActivated.emit(self._current))
        self.setEnabled(False)

    def _fits(self, node):
        kinds = [node.IsA(kind) if self.showChildNodeTypes else node.GetClassName() == kind for kind in self.nodeTypes]
        return any(kinds) and (self.showHidden or not node.GetHideFromEditors())

    def _update(self, caller=None):
        """Bring the list up to date with the scene; the first node is chosen where there is no None."""
        if self._scene is not None and self._scene.IsImporting():  # IDs and references are not valid before its end
            return
        nodes = [self._scene.GetNthNode(i) for i in range(self._scene.GetNumberOfNodes())] if self._scene else []
        before, self._nodes = self._nodes, [node for node in nodes if self._fits(node)]
        self._filling = True
        self._fill()
        self._filling = False
        gone = self._current not in self._nodes
        self._choose(self._nodes[0] if gone and self._nodes and not self.noneEnabled else self._current)
        for node in [node for node in self._nodes if node not in before]:
            self._watched.append((node, node.AddObserver("ModifiedEvent", _weakly(self, "_renamed"))))
            self.nodeAdded.emit(node)

    def _fill(self):
        self._box.clear()
        self._box.addItems([self.noneDisplay] * self.noneEnabled + [node.GetName() or "" for node in self._nodes])

    def _renamed(self, node):
        if node in self._nodes:
            self._box.setItemText(self._row(node), node.GetName() or "")

    def _row(self, node):
        return self._nodes.index(node) + self.noneEnabled if node in self._nodes else self.noneEnabled - 1

    def _picked(self, index):
        if not self._filling:
            self._choose(self.nodeFromIndex(index - self.noneEnabled))

    def _choose(self, node):
        before, self._current = self._current, node if node in self._nodes else None
        self._box.blockSignals(True)
        self._box.setCurrentIndex(self._row(self._current))
        self._box.blockSignals(False)
        if self._current is not before:
            self.currentNodeChanged.emit(self._current)
            self.currentNodeIDChanged.emit(self._id())

    def _id(self):
        return self._current.GetID() if self._current is not None else ""

    def mrmlScene(self):
        return self._scene

    def setMRMLScene(self, scene: Scene | None) -> None:
        if scene is self._scene:
            return
        for tag in self._tags:
            self._scene.RemoveObserver(tag)
        self._scene, update = scene, _weakly(self, "_update")
        events = (Scene.NodeAddedEvent, Scene.NodeRemovedEvent, Scene.EndImportEvent)
        self._tags = [scene.AddObserver(event, update) for event in events] if scene else []
        self.setEnabled(scene is not None)
        self._update()

    def currentNode(self):
        return self._current

    def setCurrentNode(self, node: Node | None) -> None:
        self._choose(node)

    def setCurrentNodeID(self, nodeID: str) -> None:
        self._choose(next((node for node in self._nodes if node.GetID() == nodeID), None))

    def setCurrentNodeIndex(self, index: int) -> None:
        self._choose(self.nodeFromIndex(index))

    def nodeCount(self):
        return len(self._nodes)

    def nodeFromIndex(self, index: int):
        return self._nodes[index] if 0 <= index < len(self._nodes) else None

    def addNode(self, nodeType: str = "") -> Node | None:
        kind = nodeType or next(iter(self.nodeTypes), "")
        if self._scene is None or kind not in self.nodeTypes:
            return None
        name = self.baseName or self._scene.GetTypeDisplayNameByClassName(kind)
        node = self._scene.AddNewNodeByClass(kind, self._scene.GenerateUniqueName(name))
        if self.selectNodeUponCreation:
            self._choose(node)
        self.nodeAddedByUser.emit(node)
        return node

    def removeCurrentNode(self) -> None:
        self._scene.RemoveNode(self._current)


class qMRMLCheckableNodeComboBox(qMRMLNodeComboBox):
    _slicer = True
    checkedNodesChanged = Signal("checkedNodesChanged()")
    _boxClass = ctkCheckableComboBox

    def __init__(self, parent: QWidget | None = None):
        self._checked = []
        super().__init__(parent)
        self.addEnabled = self.removeEnabled = False
        self._box.checkedIndexesChanged.connect(self._ticked)

    def _fill(self):
        super()._fill()
        for node in self._checked:
            self.setCheckState(node, 2)
        if any(node not in self._nodes for node in self._checked):
            self._filling = False
            self._ticked()

    def _ticked(self):
        if not self._filling:
            rows = {index.row() for index in self._box.checkedIndexes()}
            self._checked = [node for node in self._nodes if self._row(node) in rows]
            self.checkedNodesChanged.emit()

    def checkedNodes(self):
        return list(self._checked)

    def uncheckedNodes(self):
        return [node for node in self._nodes if node not in self._checked]

    def allChecked(self):
        return bool(self._nodes) and not self.uncheckedNodes()

    def noneChecked(self):
        return not self._checked

    def checkState(self, node: Node):
        return Qt.Checked if node in self._checked else Qt.Unchecked

    def setCheckState(self, node: Node, state: int) -> None:
        if node in self._nodes:
            self._box.model().item(self._row(node)).setCheckState(Qt.CheckState(state))

    def check(self, node: Node) -> None:
        self.setCheckState(node, 2)

    def uncheck(self, node: Node) -> None:
        self.setCheckState(node, 0)


def _weakly(widget, method):
    """An observer that does not keep its widget alive."""
    reference = weakref.ref(widget)

    def call(caller, event):
        if reference() is not None and shiboken6.isValid(reference()):
            getattr(reference(), method)(caller)

    return call


WIDGETS = {name: item for name, item in list(globals().items()) if name.startswith(("qMRML", "qSlicer"))}
